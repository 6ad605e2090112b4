package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// client speaks to the servers of one bed, with the administrator's rights.
type client struct{ http *http.Client }

func newClient(dir string) (*client, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("pki/ca.crt holds no certificate")
	}
	config := &tls.Config{RootCAs: roots}
	admin, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", "admin.crt"), filepath.Join(dir, "pki", "admin.key"))
	if err == nil {
		config.Certificates = []tls.Certificate{admin}
	}
	return &client{&http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: config, Proxy: nil},
	}}, nil
}

// answers says whether a GET of the URL is 200 now.
func (c *client) answers(ctx context.Context, url string) bool {
	_, err := c.do(ctx, http.MethodGet, url, nil)
	return err == nil
}

// create makes an object by POST; one that exists already is fine.
func (c *client) create(ctx context.Context, url string, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	status, err := c.do(ctx, http.MethodPost, url, data)
	if status == http.StatusConflict {
		return nil
	}
	return err
}

// get reads an object into the value given.
func (c *client) get(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return c.send(request, into)
}

// send reads the answer to a request, which must be 200, into the value given.
func (c *client) send(request *http.Request, into any) error {
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", request.Method, request.URL, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (c *client) do(ctx context.Context, method, url string, body []byte) (int, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return response.StatusCode, fmt.Errorf("%s %s: %s: %s", method, url, response.Status, text)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}
