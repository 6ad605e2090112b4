package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
)

// authorizationServer is the oidc-provider of one bed.
type authorizationServer struct {
	issuer, initialAccessToken string
	process                    *process
}

func newAuthorizationServer(dir string, bin parts) (*authorizationServer, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	token := make([]byte, 16)
	if _, err := rand.Read(token); err != nil {
		return nil, err
	}
	s := &authorizationServer{
		issuer:             fmt.Sprintf("https://localhost:%d", ports[0]),
		initialAccessToken: hex.EncodeToString(token),
	}
	s.process = &process{
		Name:    "oidc-provider",
		Command: []string{bin.node, bin.oidcServer},
		Ready:   s.issuer + "/.well-known/openid-configuration",
		Env: []string{
			fmt.Sprintf("PORT=%d", ports[0]),
			"INITIAL_ACCESS_TOKEN=" + s.initialAccessToken,
			"TLS_CERT=" + filepath.Join(dir, "pki", "server.crt"),
			"TLS_KEY=" + filepath.Join(dir, "pki", "server.key"),
			// So that stop and start keep the clients.
			"STORE_FILE=" + filepath.Join(dir, "oidc-provider.store"),
			// It fetches the keys of clients that register a jwks_uri.
			"NODE_EXTRA_CA_CERTS=" + filepath.Join(dir, "pki", "ca.crt"),
		},
	}
	return s, nil
}
