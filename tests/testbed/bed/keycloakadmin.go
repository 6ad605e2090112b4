package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// keycloakAdmin speaks to the admin API with the administrator's rights.
type keycloakAdmin struct {
	keycloak
	client *client
	base   string // of the realm
	token  string
}

func loginToKeycloak(ctx context.Context, dir string) (*keycloakAdmin, error) {
	k, err := readKeycloak(keycloakSettings(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no Keycloak in %s: start it first (testbed keycloak up)", dir)
	}
	if err != nil {
		return nil, err
	}
	client, err := newClient(dir)
	if err != nil {
		return nil, err
	}
	a := &keycloakAdmin{keycloak: k, client: client, base: k.url() + "/admin/realms/" + k.Realm}
	form := url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {k.Admin}, "password": {k.AdminPassword},
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = a.call(ctx, http.MethodPost, k.url()+"/realms/master/protocol/openid-connect/token",
		"application/x-www-form-urlencoded", form.Encode(), &answer)
	a.token = answer.AccessToken
	return a, err
}

func (a *keycloakAdmin) call(ctx context.Context, method, address, contentType, body string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.client.send(request, into)
}

// keycloakClients prints every client that is live in the realm, without
// secrets, and without the realm's own clients and the operators'.
func keycloakClients(ctx context.Context, dir string) error {
	a, err := loginToKeycloak(ctx, dir)
	if err != nil {
		return err
	}
	const page = 200
	all := []map[string]any{}
	for {
		var found []map[string]any
		address := fmt.Sprintf("%s/clients?first=%d&max=%d", a.base, len(all), page)
		if err := a.call(ctx, http.MethodGet, address, "application/json", "", &found); err != nil {
			return err
		}
		all = append(all, found...)
		if len(found) < page {
			break
		}
	}
	notTests := append([]string{a.ClientID, a.KeyClientID}, clientsOfEachRealm...)
	live := []map[string]any{}
	for _, client := range all {
		id, _ := client["clientId"].(string)
		if !slices.Contains(notTests, id) {
			delete(client, "secret")
			live = append(live, client)
		}
	}
	text, err := json.Marshal(live)
	if err == nil {
		fmt.Println(string(text))
	}
	return err
}

var clientsOfEachRealm = []string{
	"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console",
}

// keycloakInitialAccessToken prints a token that opens dynamic registration a
// thousand times within a day.
func keycloakInitialAccessToken(ctx context.Context, dir string) error {
	a, err := loginToKeycloak(ctx, dir)
	if err != nil {
		return err
	}
	var answer struct{ Token string }
	err = a.call(ctx, http.MethodPost, a.base+"/clients-initial-access", "application/json",
		`{"count": 1000, "expiration": 86400}`, &answer)
	if err == nil {
		fmt.Println(answer.Token)
	}
	return err
}
