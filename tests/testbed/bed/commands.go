package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// startTimeout is for a machine that is busy compiling, where a JVM takes a
	// minute. A process that ends instead is noticed at once.
	startTimeout = 5 * time.Minute
	// endPatience is how long a process may take to end by itself. The API
	// server would wait a minute for its watchers.
	endPatience = 2 * time.Second
)

// up starts a bed, or what is not running of it.
func up(ctx context.Context, dir string) error {
	unlock, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	wanted, err := wantedSettings(dir)
	if err != nil {
		return err
	}
	all, err := processes(dir)
	if err != nil {
		return err
	}
	// Without its environment a bed was never finished: its up was killed.
	_, unfinished := os.Stat(filepath.Join(dir, "env"))
	if unfinished == nil && slices.ContainsFunc(all, (*process).alive) {
		return keepUp(ctx, dir, wanted, all)
	}
	if isBed(dir) {
		say("removing what is left of an earlier bed in %s", dir)
	}
	if err := endAll(dir); err != nil {
		return err
	}
	if err := wipe(dir); err != nil {
		return err
	}
	if err := freshBed(ctx, dir, wanted); err != nil {
		if ended := endAll(dir); ended != nil {
			err = errors.Join(err, ended)
		}
		return err
	}
	fmt.Println("the test bed is running; its environment is in " + filepath.Join(dir, "env"))
	return nil
}

// keepUp is up where a bed is running already, wholly or in part.
func keepUp(ctx context.Context, dir string, wanted settings, all []*process) error {
	got, err := readSettings(dir)
	if err != nil {
		return err
	}
	if got != wanted {
		return fmt.Errorf("a bed with another cluster is running in %s: end it first (testbed down), or choose another --dir", dir)
	}
	client, err := newClient(dir)
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := p.run(ctx, dir, client); err != nil {
			return err
		}
	}
	fmt.Println("the test bed is already running; its environment is in " + filepath.Join(dir, "env"))
	return nil
}

// freshBed makes a bed in an empty directory.
func freshBed(ctx context.Context, dir string, wanted settings) error {
	begin := time.Now()
	bin, err := findParts(wanted)
	if err != nil {
		return err
	}
	if err := writeSettings(dir, wanted); err != nil {
		return err
	}
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "pki", "ca.crt"), ca.pem); err != nil {
		return err
	}
	server, err := ca.server()
	if err != nil {
		return err
	}
	if err := server.write(dir, "server"); err != nil {
		return err
	}
	oidc, err := newAuthorizationServer(dir, bin)
	if err != nil {
		return err
	}

	env := []variable{
		{"TESTBED_DIR", dir},
		{"TESTBED_CA", filepath.Join(dir, "pki", "ca.crt")},
		{"TESTBED_CERT", filepath.Join(dir, "pki", "server.crt")},
		{"TESTBED_KEY", filepath.Join(dir, "pki", "server.key")},
		{"TESTBED_ISSUER", oidc.issuer},
		{"TESTBED_INITIAL_ACCESS_TOKEN", oidc.initialAccessToken},
		{"TESTBED_CLIENTS_URL", oidc.issuer + "/test/clients"},
		{"TESTBED_NODE", bin.node},
		{"TESTBED_OIDC_SERVER", bin.oidcServer},
		{"TESTBED_NODE_MODULES", bin.nodeModules},
	}
	var clusterEnv []variable
	switch {
	case wanted.NoCluster:
		err = startAlone(ctx, dir, oidc.process)
	case wanted.Kubeconfig == "":
		clusterEnv, err = startOwnCluster(ctx, dir, bin, ca, oidc.process)
	default:
		clusterEnv, err = useGivenCluster(ctx, dir, bin, wanted.Kubeconfig, oidc.process)
	}
	if err != nil {
		return err
	}
	err = writeEnvironment(dir, append(clusterEnv, env...))
	if err == nil {
		say("ready after %.1f s", time.Since(begin).Seconds())
	}
	return err
}

func startOwnCluster(ctx context.Context, dir string, bin parts, ca *authority, beside *process) ([]variable, error) {
	c, err := newCluster(dir, bin, ca)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx, beside); err != nil {
		return nil, err
	}
	return []variable{
		{"KUBECONFIG", filepath.Join(dir, "kubeconfig")},
		{"KUBECTL", bin.kubectl}, {"HELM", bin.helm},
		{"TESTBED_KUBE_APISERVER", c.apiserver},
		{"TESTBED_AUDIT_LOG", auditLog(dir)},
	}, nil
}

func useGivenCluster(ctx context.Context, dir string, bin parts, kubeconfig string, beside *process) ([]variable, error) {
	apiserver, err := askGivenCluster(ctx, bin.kubectl, kubeconfig)
	if err != nil {
		return nil, err
	}
	say("using the cluster %s of KUBECONFIG=%s", apiserver, kubeconfig)
	return []variable{
		{"KUBECONFIG", kubeconfig}, {"KUBECTL", bin.kubectl}, {"HELM", bin.helm},
		{"TESTBED_KUBE_APISERVER", apiserver},
	}, startAlone(ctx, dir, beside)
}

// startAlone starts a process beside which the bed starts no cluster.
func startAlone(ctx context.Context, dir string, p *process) error {
	client, err := newClient(dir)
	if err != nil {
		return err
	}
	return p.run(ctx, dir, client)
}

// down ends the processes of a bed and removes its data.
func down(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("no test bed in " + dir)
		return nil
	}
	unlock, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := endAll(dir); err != nil {
		return err
	}
	// Never the user's own cluster: nothing of it is in the directory.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	fmt.Println("the test bed in " + dir + " has ended")
	return nil
}

// endAll ends the processes of a bed, the last one started first.
func endAll(dir string) error {
	all, err := processes(dir)
	if err != nil {
		return err
	}
	var failed error
	for i := len(all) - 1; i >= 0; i-- {
		failed = errors.Join(failed, all[i].end(dir, endPatience))
	}
	return failed
}

// status lists the processes of a bed; it fails when one of them is not live.
func status(dir string) error {
	if !isBed(dir) {
		return fmt.Errorf("no test bed in %s", dir)
	}
	all, err := processes(dir)
	if err != nil {
		return err
	}
	dead := 0
	for _, p := range all {
		state := "running"
		if !p.alive() {
			state = "not running"
			dead++
		}
		fmt.Printf("%-24s %8d  %s\n", p.Name, p.Pid, state)
	}
	if got, err := readSettings(dir); err == nil && got.Kubeconfig != "" {
		fmt.Println("cluster of the user: " + got.Kubeconfig)
	}
	if dead > 0 || len(all) == 0 {
		return fmt.Errorf("%d of %d processes are not running", dead, len(all))
	}
	return nil
}

func startOne(ctx context.Context, dir, name string) error {
	unlock, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := findProcess(dir, name)
	if err != nil {
		return err
	}
	client, err := newClient(dir)
	if err != nil {
		return err
	}
	return p.run(ctx, dir, client)
}

func stopOne(dir, name string) error {
	unlock, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := findProcess(dir, name)
	if err != nil {
		return err
	}
	return p.stop(dir)
}
