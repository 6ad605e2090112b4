package main

import (
	"context"
	_ "embed"
)

const nodeName = "testbed-node"

// The life of nodes and pods, as kwok plays it.
//
//go:embed stages.yaml
var stages []byte

func node() map[string]any {
	return map[string]any{
		"metadata": map[string]any{
			"name": nodeName,
			"labels": map[string]any{
				"kubernetes.io/hostname": nodeName, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
			},
		},
	}
}

// nodeReady says whether the scheduler would put pods on the node: that its
// taint for nodes not ready has gone, too.
func nodeReady(ctx context.Context, api *client, apiserver string) bool {
	var node struct {
		Spec   struct{ Taints []struct{ Key string } }
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := api.get(ctx, apiserver+"/api/v1/nodes/"+nodeName, &node); err != nil || len(node.Spec.Taints) > 0 {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return true
		}
	}
	return false
}
