package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Where the script has put what it built. Only up needs them: the commands of
// a bed's processes are kept with the bed.
type parts struct{ controlplane, kubectl, helm, kwok, node, oidcServer, nodeModules string }

func findParts(wanted settings) (p parts, err error) {
	ownCluster := !wanted.NoCluster && wanted.Kubeconfig == ""
	for name, part := range map[string]*string{
		"BED_CONTROLPLANE": &p.controlplane,
		"BED_KUBECTL":      &p.kubectl,
		"BED_HELM":         &p.helm,
		"BED_KWOK":         &p.kwok,
		"BED_NODE":         &p.node,
		"BED_OIDC_SERVER":  &p.oidcServer,
	} {
		*part = os.Getenv(name)
		needed := ownCluster || (part != &p.controlplane && part != &p.kwok)
		needed = needed && !(wanted.NoCluster && (part == &p.kubectl || part == &p.helm))
		if *part == "" && needed {
			return p, fmt.Errorf("%s is not set: call this by the script testbed", name)
		}
	}
	p.nodeModules = filepath.Join(filepath.Dir(p.oidcServer), "node_modules")
	return p, nil
}
