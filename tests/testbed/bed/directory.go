package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// marker is the file that says that a directory is a bed's, and may be wiped.
const marker = ".testbed.json"

// settings is what up decided and what must not change while the bed runs.
type settings struct {
	// Kubeconfig of the user's own cluster; empty when the bed has its own.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// NoCluster is for those who want authorization servers alone.
	NoCluster bool `json:"noCluster,omitempty"`
}

// openDirectory makes the directory of a bed, or opens it, and locks it until
// the returned function is called: two commands on one bed take turns.
func openDirectory(dir string) (unlock func(), err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ours := len(entries) == 0
	for _, entry := range entries {
		// A first command may have made the lock and not the marker yet.
		ours = ours || entry.Name() == marker || entry.Name() == ".lock"
	}
	if !ours {
		return nil, fmt.Errorf("%s is neither empty nor a test bed: choose another --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		say("waiting for another command on %s", dir)
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
	}
	return func() { lock.Close() }, nil
}

// wipe removes all that is in the directory but the lock that is being held.
func wipe(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == ".lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isBed(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, marker))
	return err == nil
}

func readSettings(dir string) (s settings, err error) {
	data, err := os.ReadFile(filepath.Join(dir, marker))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func writeSettings(dir string, s settings) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, marker), data)
}

// copyFile copies a file; readers of the copy see the old or the new one.
func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, data)
}

// writeFile replaces a file as a whole: readers see the old or the new one.
// Everything in a bed may hold a key or a token, so nobody else may read it.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
