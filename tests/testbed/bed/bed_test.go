package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process number is given again: whoever has it now must be left alone.
func TestEndLeavesStrangersAlone(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Process.Kill()
	p := &process{Name: "etcd", Pid: stranger.Process.Pid, Started: "another boot/1"}
	if p.alive() {
		t.Fatal("a stranger is taken for ours")
	}
	if err := p.end(t.TempDir(), time.Second); err != nil {
		t.Fatal(err)
	}
	if _, live := startedAt(stranger.Process.Pid); !live {
		t.Fatal("a stranger was ended")
	}
}

func TestStartAndEnd(t *testing.T) {
	dir := t.TempDir()
	// It ignores the request to end, as a server does that waits for others.
	p := &process{Name: "kwok", Command: []string{"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"}}
	ended, err := p.start(dir)
	if err != nil {
		t.Fatal(err)
	}
	found, err := findProcess(dir, "kwok")
	if err != nil || !found.alive() {
		t.Fatalf("the process is not found again: %v %v", found, err)
	}
	if err := found.end(dir, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if <-ended; found.alive() {
		t.Fatal("still running")
	}
	if _, err := os.Stat(found.file(dir, ".pid")); !os.IsNotExist(err) {
		t.Fatalf("the pid file stays: %v", err)
	}
}

// The dead stay in /proc until their parent asks for them.
func TestZombieIsNotAlive(t *testing.T) {
	command := exec.Command("true")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, live := startedAt(command.Process.Pid); !live {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a zombie counts as live")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	treasure := filepath.Join(dir, "treasure")
	if err := os.WriteFile(treasure, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := down(dir); err == nil {
		t.Error("down takes a directory that is no bed")
	}
	if _, err := openDirectory(dir); err == nil {
		t.Error("up takes a directory that is no bed")
	}
	if _, err := os.Stat(treasure); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentIsWhatAShellReads(t *testing.T) {
	dir := t.TempDir()
	values := []variable{{"PLAIN", "https://localhost:1/x"}, {"ODD", `it's "a" $HOME`}, {"EMPTY", ""}}
	if err := writeEnvironment(dir, values); err != nil {
		t.Fatal(err)
	}
	script := `. ./env; printf '%s|' "$PLAIN" "$ODD" "$EMPTY"; head -n 1 env`
	command := exec.Command("sh", "-c", script)
	command.Dir = dir
	out, err := command.Output()
	want := `https://localhost:1/x|it's "a" $HOME||PLAIN=https://localhost:1/x`
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Fatalf("got %s %v", out, err)
	}
}

func TestAddingToTheEnvironmentReplaces(t *testing.T) {
	dir := t.TempDir()
	if err := writeEnvironment(dir, []variable{{"URL", "old"}, {"URL_OTHER", "stays"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := addToEnvironment(dir, []variable{{"URL", "it's new"}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "env"))
	if want := "URL_OTHER=stays\nURL='it'\\''s new'\n"; err != nil || string(got) != want {
		t.Fatalf("got %s %v, not %s", got, err, want)
	}
}

func TestWhichCluster(t *testing.T) {
	dir := t.TempDir()
	bed, other := filepath.Join(dir, "bed"), filepath.Join(dir, "config")
	if err := writeSettings(bed, settings{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, kubeconfig, use, cluster, want string
		noCluster, fails                     bool
	}{
		{name: "nothing set"},
		{name: "none", kubeconfig: other, cluster: "none", noCluster: true},
		{name: "misspelt", cluster: "non", fails: true},
		{name: "the user's", kubeconfig: other, want: other},
		{name: "the user's, not wanted", kubeconfig: other, use: "0"},
		{name: "this bed's, gone", kubeconfig: filepath.Join(dir, "this", "kubeconfig")},
		{name: "another bed's", kubeconfig: filepath.Join(bed, "kubeconfig")},
		{name: "missing", kubeconfig: filepath.Join(dir, "missing"), fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", c.kubeconfig)
			t.Setenv("TESTBED_USE_KUBECONFIG", c.use)
			t.Setenv("TESTBED_CLUSTER", c.cluster)
			got, err := wantedSettings(filepath.Join(dir, "this"))
			if got.Kubeconfig != c.want || got.NoCluster != c.noCluster || (err != nil) != c.fails {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Two beds that start at the same time must not be given the same port.
func TestAPortIsGivenOnce(t *testing.T) {
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	if ports[0] == ports[1] {
		t.Fatal("one port twice")
	}
	if claim, err := net.Listen("unix", fmt.Sprintf("@oauthclient-testbed-port-%d", ports[0])); err == nil {
		claim.Close()
		t.Fatal("another process can claim it as well")
	}
}
