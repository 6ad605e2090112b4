package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one server of a bed. It is kept in DIR/NAME.json, so that it can
// be started again with the same arguments, and told from a stranger that has
// been given its number.
type process struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Env     []string `json:"env,omitempty"`
	// Ready is a URL that answers 200 once the server is ready.
	Ready string `json:"ready,omitempty"`
	// Patience is how long stop lets it end by itself, where that is longer
	// than usual.
	Patience time.Duration `json:"patience,omitempty"`
	Pid      int           `json:"pid,omitempty"`
	// Started tells this process from a later one with the same pid.
	Started string `json:"started,omitempty"`
}

func (p *process) file(dir, suffix string) string { return filepath.Join(dir, p.Name+suffix) }
func (p *process) log(dir string) string          { return filepath.Join(dir, "log", p.Name+".log") }

// processes lists those of a bed in the order in which they were first started.
func processes(dir string) ([]*process, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var found []*process
	for _, file := range files {
		if filepath.Base(file) == marker {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p := &process{}
		if err := json.Unmarshal(data, p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, p)
	}
	slices.SortStableFunc(found, func(a, b *process) int {
		return slices.Index(startOrder, a.Name) - slices.Index(startOrder, b.Name)
	})
	return found, nil
}

func findProcess(dir, name string) (*process, error) {
	all, err := processes(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no test bed in %s", dir)
	}
	return nil, fmt.Errorf("no process %q in this bed: it has %s", name, strings.Join(names, ", "))
}

// startedAt says when a live process started, in a form that is never the same
// for two processes with one pid. A zombie is not live: where nobody collects
// the dead, they stay in /proc.
func startedAt(pid int) (string, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The name in brackets may itself hold brackets and spaces.
	_, after, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(") "))
	fields := strings.Fields(string(after))
	if !ok || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", false
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], true
}

func (p *process) alive() bool {
	started, live := startedAt(p.Pid)
	return p.Pid > 0 && live && started == p.Started
}

// start runs the process on its own: it outlives this command and does not get
// the signals of its terminal. The channel gets its end while we are here.
func (p *process) start(dir string) (<-chan error, error) {
	if err := os.MkdirAll(filepath.Dir(p.log(dir)), 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(p.log(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	command := exec.Command(p.Command[0], p.Command[1:]...)
	command.Dir = dir
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Nothing of the caller's environment changes how a bed behaves.
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG"} {
		if value, set := os.LookupEnv(name); set {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	command.Env = append(command.Env, p.Env...)
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	ended := make(chan error, 1)
	p.Pid = command.Process.Pid
	p.Started, _ = startedAt(p.Pid)
	go func() { ended <- command.Wait() }()
	return ended, p.save(dir)
}

func (p *process) save(dir string) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(p.file(dir, ".json"), data); err != nil {
		return err
	}
	return writeFile(p.file(dir, ".pid"), []byte(strconv.Itoa(p.Pid)+"\n"))
}

// run starts the process unless it is live, and waits until it is ready.
func (p *process) run(ctx context.Context, dir string, client *client) error {
	if p.alive() {
		return nil
	}
	begin := time.Now()
	ended, err := p.start(dir)
	if err != nil {
		return err
	}
	for p.Ready != "" && !client.answers(ctx, p.Ready) {
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended at its start: %v\n%s", p.Name, err, tail(p.log(dir)))
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return fmt.Errorf("%s is not ready after %.0f s\n%s", p.Name, time.Since(begin).Seconds(), tail(p.log(dir)))
		case <-time.After(50 * time.Millisecond):
		}
	}
	say("%s ready after %.1f s", p.Name, time.Since(begin).Seconds())
	return nil
}

// end asks the process to end, and makes it end when it does not within the
// time given. A process that is no longer ours is left alone.
func (p *process) end(dir string, patience time.Duration) error {
	signal := syscall.SIGTERM
	deadline := time.Now().Add(patience)
	for p.alive() {
		if signal != 0 {
			if err := syscall.Kill(p.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end %s (pid %d): %w", p.Name, p.Pid, err)
			}
		}
		signal = 0
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := os.Remove(p.file(dir, ".pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stop is end for a process whose data are used again.
func (p *process) stop(dir string) error {
	return p.end(dir, max(endPatience, p.Patience))
}

// tail is the end of a log, for an error message.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(data) == 0 {
		return path + " is empty"
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) > 25 {
		lines = lines[len(lines)-25:]
	}
	return fmt.Sprintf("the end of %s:\n  %s", path, strings.Join(lines, "\n  "))
}
