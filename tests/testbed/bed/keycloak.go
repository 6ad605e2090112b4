package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	keycloakName = "keycloak"
	// Only a server that ends by itself closes its database.
	keycloakPatience = time.Minute
)

// keycloak is the Keycloak of one bed: what was decided when it was made.
type keycloak struct {
	Realm         string `json:"realm"`
	Admin         string `json:"admin"`
	AdminPassword string `json:"adminPassword"`
	ClientID      string `json:"clientId"`
	ClientSecret  string `json:"clientSecret"`
	KeyClientID   string `json:"keyClientId"`
	KeyID         string `json:"keyId"`
	// Port is set for each bed; all else comes with the part that was built.
	Port int `json:"port"`
}

func keycloakData(dir string) string { return filepath.Join(dir, keycloakName) }
func keycloakDatabase(dir string) string {
	return filepath.Join(keycloakData(dir), "database", "keycloak.mv.db")
}
func keycloakSettings(dir string) string { return filepath.Join(keycloakData(dir), "bed.secrets") }

func readKeycloak(path string) (k keycloak, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	return k, json.Unmarshal(data, &k)
}

// keycloakUp adds a Keycloak to a bed, or starts the one that it has.
func keycloakUp(ctx context.Context, dir string) error {
	unlock, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(dir, "env")); err != nil {
		return fmt.Errorf("no test bed in %s: start it first (testbed up)", dir)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	k, err := readKeycloak(keycloakSettings(dir))
	if errors.Is(err, fs.ErrNotExist) {
		k, err = newKeycloak(dir)
	}
	if err != nil {
		return err
	}
	p, err := findProcess(dir, keycloakName)
	if err != nil {
		if p, err = keycloakProcess(dir, k); err != nil {
			return err
		}
	}
	client, err := newClient(dir)
	if err != nil {
		return err
	}
	if err := p.run(ctx, dir, client); err != nil {
		return err
	}
	if err := addToEnvironment(dir, k.variables(dir, filepath.Dir(p.Command[0]))); err != nil {
		return err
	}
	fmt.Println("Keycloak is running at " + k.url())
	return nil
}

// newKeycloak gives the bed a database and a port of its own.
func newKeycloak(dir string) (k keycloak, err error) {
	built := os.Getenv("BED_KEYCLOAK")
	if built == "" {
		return k, errors.New("BED_KEYCLOAK is not set: call this by the script testbed")
	}
	if k, err = readKeycloak(filepath.Join(built, "secrets.json")); err != nil {
		return k, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return k, err
	}
	k.Port = ports[0]
	if err := copyFile(filepath.Join(built, "database", "keycloak.mv.db"), keycloakDatabase(dir)); err != nil {
		return k, err
	}
	if err := copyFile(filepath.Join(built, "operator.key"), filepath.Join(dir, "pki", "keycloak-operator.key")); err != nil {
		return k, err
	}
	data, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	// Last: without it, the next try starts from the beginning.
	return k, writeFile(keycloakSettings(dir), data)
}

func keycloakProcess(dir string, k keycloak) (*process, error) {
	built, java := os.Getenv("BED_KEYCLOAK"), os.Getenv("BED_JAVA")
	if built == "" || java == "" {
		return nil, errors.New("BED_KEYCLOAK or BED_JAVA is not set: call this by the script testbed")
	}
	return &process{
		Name: keycloakName,
		Command: []string{
			filepath.Join(built, "run"), keycloakData(dir),
			fmt.Sprintf("--https-port=%d", k.Port),
			"--https-certificate-file=" + filepath.Join(dir, "pki", "server.crt"),
			"--https-certificate-key-file=" + filepath.Join(dir, "pki", "server.key"),
			// It fetches the keys of clients that register a jwks_uri.
			"--truststore-paths=" + filepath.Join(dir, "pki", "ca.crt"),
		},
		Env:      []string{"JAVA=" + java},
		Ready:    k.issuer() + "/.well-known/openid-configuration",
		Patience: keycloakPatience,
	}, nil
}

func (k keycloak) url() string    { return fmt.Sprintf("https://localhost:%d", k.Port) }
func (k keycloak) issuer() string { return k.url() + "/realms/" + k.Realm }

func (k keycloak) variables(dir, built string) []variable {
	return []variable{
		{"TESTBED_KEYCLOAK_HOME", filepath.Join(built, "distribution")},
		{"TESTBED_KEYCLOAK_URL", k.url()},
		{"TESTBED_KEYCLOAK_REALM", k.Realm},
		{"TESTBED_KEYCLOAK_ISSUER", k.issuer()},
		{"TESTBED_KEYCLOAK_CLIENT_ID", k.ClientID},
		{"TESTBED_KEYCLOAK_CLIENT_SECRET", k.ClientSecret},
		{"TESTBED_KEYCLOAK_KEY_CLIENT_ID", k.KeyClientID},
		{"TESTBED_KEYCLOAK_KEY", filepath.Join(dir, "pki", "keycloak-operator.key")},
		{"TESTBED_KEYCLOAK_KEY_ID", k.KeyID},
		{"TESTBED_KEYCLOAK_ADMIN", k.Admin},
		{"TESTBED_KEYCLOAK_ADMIN_PASSWORD", k.AdminPassword},
	}
}

// keycloakSave copies the database to a file; keycloakRestore puts it back. A
// Keycloak that runs is stopped meanwhile.
func keycloakSave(ctx context.Context, dir, file string) error {
	return whileStopped(ctx, dir, func() error { return copyFile(keycloakDatabase(dir), file) })
}

func keycloakRestore(ctx context.Context, dir, file string) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	return whileStopped(ctx, dir, func() error { return copyFile(file, keycloakDatabase(dir)) })
}

func whileStopped(ctx context.Context, dir string, act func() error) error {
	unlock, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := findProcess(dir, keycloakName)
	if err != nil {
		return err
	}
	running := p.alive()
	if err := p.stop(dir); err != nil {
		return err
	}
	if err := act(); err != nil || !running {
		return err
	}
	client, err := newClient(dir)
	if err != nil {
		return err
	}
	return p.run(ctx, dir, client)
}
