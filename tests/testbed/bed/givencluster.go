package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wantedSettings says which cluster the caller wants: none, the one KUBECONFIG
// names, or one of the bed's own.
func wantedSettings(dir string) (settings, error) {
	switch wanted := os.Getenv("TESTBED_CLUSTER"); wanted {
	case "":
	case "none":
		return settings{NoCluster: true}, nil
	default:
		return settings{}, fmt.Errorf("TESTBED_CLUSTER=%s: it may be none, or not set", wanted)
	}
	value := os.Getenv("KUBECONFIG")
	if value == "" || os.Getenv("TESTBED_USE_KUBECONFIG") == "0" {
		return settings{}, nil
	}
	var paths []string
	exists := false
	for _, path := range filepath.SplitList(value) {
		path, err := filepath.Abs(path)
		if err != nil {
			return settings{}, err
		}
		// Who has sourced a bed's environment means no cluster of his own.
		if parent := filepath.Dir(path); parent == dir || isBed(parent) {
			return settings{}, nil
		}
		paths = append(paths, path)
		if _, err := os.Stat(path); err == nil {
			exists = true
		}
	}
	if !exists {
		return settings{}, fmt.Errorf("KUBECONFIG=%s does not exist: unset it, or set TESTBED_USE_KUBECONFIG=0, for a cluster of the bed's own", value)
	}
	return settings{Kubeconfig: strings.Join(paths, string(filepath.ListSeparator))}, nil
}

// askGivenCluster makes sure that the user's cluster answers, and says where
// it is.
func askGivenCluster(ctx context.Context, kubectl, kubeconfig string) (string, error) {
	ask := func(args ...string) (string, error) {
		command := exec.CommandContext(ctx, kubectl, append(args, "--request-timeout=10s")...)
		command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
		var complaint bytes.Buffer
		command.Stderr = &complaint
		out, err := command.Output()
		if err != nil {
			return "", fmt.Errorf("the cluster of KUBECONFIG=%s: kubectl %s: %w\n%s",
				kubeconfig, strings.Join(args, " "), err, complaint.Bytes())
		}
		return strings.TrimSpace(string(out)), nil
	}
	if _, err := ask("get", "--raw", "/readyz"); err != nil {
		return "", err
	}
	return ask("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
}
