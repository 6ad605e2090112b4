// Command controlplane is a whole Kubernetes control plane in one binary, so
// that a real cluster needs neither containers nor downloads of releases.
//
// The part to run is the first argument, or the name the binary was called by:
// a symlink named kubectl is kubectl.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var parts = map[string]func(args []string) int{
	"etcd": func(args []string) int {
		etcdmain.Main(args)
		return 0
	},
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubectl": func([]string) int {
		// kubectl prints its errors itself and chooses the exit code by them.
		kubectlutil.CheckErr(cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()))
		return 0
	},
}

// command wraps a cobra command that is made only when it is the one to run:
// each of them registers flags and metrics of the whole process.
func command(make func() *cobra.Command) func([]string) int {
	return func([]string) int { return cli.Run(make()) }
}

func main() {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	run, called := parts[name]
	if !called && len(os.Args) > 1 {
		name = os.Args[1]
		run, called = parts[name]
		// The parts read os.Args themselves (kubectl looks for plugins there).
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	if !called {
		fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl [ARGUMENT…]")
		os.Exit(2)
	}
	os.Exit(run(os.Args))
}
