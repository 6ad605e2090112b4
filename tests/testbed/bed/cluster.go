package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"text/template"
	"time"
)

// startOrder is the order in which a bed's processes start; they end in the
// opposite one.
var startOrder = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "oidc-provider", keycloakName,
}

//go:embed audit-policy.yaml
var auditPolicy []byte

// cluster is the control plane of one bed.
type cluster struct {
	dir, apiserver string
	processes      []*process
}

// newCluster writes the keys, credentials and configuration of a fresh control
// plane and says which processes make it up. It starts none.
func newCluster(dir string, bin parts, ca *authority) (*cluster, error) {
	ports, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	etcdPort, peerPort, apiPort, managerPort, schedulerPort := ports[0], ports[1], ports[2], ports[3], ports[4]
	etcd := fmt.Sprintf("https://127.0.0.1:%d", etcdPort)
	peer := fmt.Sprintf("https://127.0.0.1:%d", peerPort)
	c := &cluster{dir: dir, apiserver: fmt.Sprintf("https://localhost:%d", apiPort)}

	if err := c.writeCredentials(ca); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, "audit-policy.yaml"), auditPolicy); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, "stages.yaml"), stages); err != nil {
		return nil, err
	}

	pki := func(name string) string { return filepath.Join(dir, "pki", name) }
	kubeconfig := func(user string) string { return filepath.Join(dir, "kubeconfigs", user) }
	// Both serve nothing but their health to those who have no certificate.
	serving := []string{
		"--bind-address=127.0.0.1",
		"--tls-cert-file=" + pki("server.crt"), "--tls-private-key-file=" + pki("server.key"),
		"--leader-elect=false", "--profiling=false",
	}

	c.add("etcd", etcd+"/readyz", []string{bin.controlplane, "etcd",
		"--name=testbed", "--data-dir=" + filepath.Join(dir, "etcd"),
		// What survives a power cut is of no interest here; speed is.
		"--unsafe-no-fsync",
		"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=testbed=" + peer,
		"--cert-file=" + pki("server.crt"), "--key-file=" + pki("server.key"),
		"--client-cert-auth", "--trusted-ca-file=" + pki("ca.crt"),
		"--peer-cert-file=" + pki("server.crt"), "--peer-key-file=" + pki("server.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + pki("ca.crt"),
		"--log-level=warn",
	})
	c.add("kube-apiserver", c.apiserver+"/readyz", []string{bin.controlplane, "kube-apiserver",
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", apiPort),
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/16",
		"--etcd-servers=" + etcd, "--etcd-cafile=" + pki("ca.crt"),
		"--etcd-certfile=" + pki("server.crt"), "--etcd-keyfile=" + pki("server.key"),
		"--tls-cert-file=" + pki("server.crt"), "--tls-private-key-file=" + pki("server.key"),
		"--client-ca-file=" + pki("ca.crt"),
		"--authorization-mode=Node,RBAC",
		// Strict clusters have it on, and it is what an operator's rights fail at.
		"--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
		"--service-account-issuer=" + c.apiserver,
		"--service-account-jwks-uri=" + c.apiserver + "/openid/v1/jwks",
		"--service-account-key-file=" + pki("service-account.pub"),
		"--service-account-signing-key-file=" + pki("service-account.key"),
		"--audit-policy-file=" + filepath.Join(dir, "audit-policy.yaml"),
		"--audit-log-path=" + auditLog(dir), "--audit-log-maxsize=100", "--audit-log-maxbackup=1",
		"--allow-privileged", "--profiling=false",
	})
	c.add("kube-controller-manager", fmt.Sprintf("https://localhost:%d/healthz", managerPort),
		append([]string{bin.controlplane, "kube-controller-manager", fmt.Sprintf("--secure-port=%d", managerPort),
			"--kubeconfig=" + kubeconfig("kube-controller-manager"),
			"--use-service-account-credentials",
			"--service-account-private-key-file=" + pki("service-account.key"),
			"--root-ca-file=" + pki("ca.crt"),
			"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}, serving...))
	c.add("kube-scheduler", fmt.Sprintf("https://localhost:%d/readyz", schedulerPort),
		append([]string{bin.controlplane, "kube-scheduler", fmt.Sprintf("--secure-port=%d", schedulerPort),
			"--kubeconfig=" + kubeconfig("kube-scheduler"),
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}, serving...))
	c.add("kwok", "", []string{bin.kwok,
		"--kubeconfig=" + kubeconfig("kwok"),
		"--config=" + filepath.Join(dir, "stages.yaml"),
		"--manage-single-node=" + nodeName, "--node-ip=10.0.0.2", "--cidr=10.244.0.0/16",
		"--node-lease-duration-seconds=40",
	})
	return c, nil
}

func auditLog(dir string) string { return filepath.Join(dir, "log", "audit.log") }

func (c *cluster) add(name, ready string, command []string) {
	c.processes = append(c.processes, &process{Name: name, Command: command, Ready: ready})
}

// writeCredentials makes the keys of the servers and one kubeconfig for each
// user of the API server.
func (c *cluster) writeCredentials(ca *authority) error {
	key, err := encodeKey(ca.key)
	if err != nil {
		return err
	}
	// The controller manager signs certificates with it.
	if err := writeFile(filepath.Join(c.dir, "pki", "ca.key"), key); err != nil {
		return err
	}
	if err := writeServiceAccountKeys(c.dir); err != nil {
		return err
	}
	for _, user := range []struct{ file, name, group string }{
		{"admin", "testbed-admin", "system:masters"},
		{"kube-controller-manager", "system:kube-controller-manager", ""},
		{"kube-scheduler", "system:kube-scheduler", ""},
		{"kwok", "kwok", "system:masters"},
	} {
		var groups []string
		if user.group != "" {
			groups = append(groups, user.group)
		}
		credential, err := ca.client(user.name, groups...)
		if err != nil {
			return err
		}
		path := filepath.Join(c.dir, "kubeconfigs", user.file)
		if user.file == "admin" {
			path = filepath.Join(c.dir, "kubeconfig")
			if err := credential.write(c.dir, "admin"); err != nil {
				return err
			}
		}
		if err := writeKubeconfig(path, c.apiserver, user.name, ca, credential); err != nil {
			return err
		}
	}
	return nil
}

var kubeconfigTemplate = template.Must(template.New("kubeconfig").Parse(`apiVersion: v1
kind: Config
current-context: testbed
clusters:
- name: testbed
  cluster:
    server: {{.Server}}
    certificate-authority-data: {{.CA}}
users:
- name: {{.User}}
  user:
    client-certificate-data: {{.Certificate}}
    client-key-data: {{.Key}}
contexts:
- name: testbed
  context: {cluster: testbed, user: "{{.User}}", namespace: default}
`))

func writeKubeconfig(path, server, user string, ca *authority, credential pair) error {
	var text bytes.Buffer
	err := kubeconfigTemplate.Execute(&text, map[string]string{
		"Server": server, "User": user,
		"CA":          base64.StdEncoding.EncodeToString(ca.pem),
		"Certificate": base64.StdEncoding.EncodeToString(credential.certificate),
		"Key":         base64.StdEncoding.EncodeToString(credential.key),
	})
	if err != nil {
		return err
	}
	return writeFile(path, text.Bytes())
}

// furnish creates what every cluster of a bed has, and waits until pods can be
// made and run.
func (c *cluster) furnish(ctx context.Context, api *client) error {
	if err := api.create(ctx, c.apiserver+"/api/v1/nodes", node()); err != nil {
		return err
	}
	// Authorization servers that take ServiceAccount tokens fetch the keys.
	discovery := map[string]any{
		"metadata": map[string]any{"name": "testbed-service-account-issuer-discovery"},
		"roleRef": map[string]any{
			"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
			"name": "system:service-account-issuer-discovery",
		},
		"subjects": []any{map[string]any{
			"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated",
		}},
	}
	return api.create(ctx, c.apiserver+"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", discovery)
}

// usable waits for what the controllers make: a node that takes pods, and the
// ServiceAccount without which no pod is admitted.
func (c *cluster) usable(ctx context.Context, api *client) error {
	account := c.apiserver + "/api/v1/namespaces/default/serviceaccounts/default"
	for !api.answers(ctx, account) || !nodeReady(ctx, api, c.apiserver) {
		for _, p := range c.processes {
			if !p.alive() {
				return fmt.Errorf("%s ended\n%s", p.Name, tail(p.log(c.dir)))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for the node and the default ServiceAccount: %w; the logs are in %s",
				context.Cause(ctx), filepath.Join(c.dir, "log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// start starts the control plane, and beside it a process that does not depend
// on it.
func (c *cluster) start(ctx context.Context, beside *process) error {
	// The first failure ends the waiting of all.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	api, err := newClient(c.dir)
	if err != nil {
		return err
	}
	besideDone := make(chan error, 1)
	go func() {
		err := beside.run(ctx, c.dir, api)
		if err != nil {
			cancel(err)
		}
		besideDone <- err
	}()

	err = c.startInOrder(ctx, api)
	if err != nil {
		cancel(err)
	}
	if failed := <-besideDone; failed != nil && err == nil {
		err = failed
	}
	return err
}

func (c *cluster) startInOrder(ctx context.Context, api *client) error {
	etcd, apiserver, rest := c.processes[0], c.processes[1], c.processes[2:]
	for _, p := range []*process{etcd, apiserver} {
		if err := p.run(ctx, c.dir, api); err != nil {
			return err
		}
	}
	if err := c.furnish(ctx, api); err != nil {
		return err
	}
	// These find their way together.
	done := make(chan error, len(rest))
	for _, p := range rest {
		go func() { done <- p.run(ctx, c.dir, api) }()
	}
	var failed error
	for range rest {
		if err := <-done; err != nil && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	return c.usable(ctx, api)
}
