package publish

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bounds of a call. A page of nodes is some megabytes, because a Node lists the images it holds.
const (
	requestTimeout = 30 * time.Second
	dialTimeout    = 10 * time.Second
	maxAnswer      = 32 << 20
	maxError       = 64 << 10
	maxWait        = 5 * time.Second
)

// fieldManager is the name under which the server notes what was written (metadata.managedFields).
const fieldManager = "trustpool-publisher"

// kubernetesAPI calls an API server. client-go would do it too, with 45 modules for two requests.
type kubernetesAPI struct {
	base   *url.URL
	config KubernetesConfig
	env    Env
	client *http.Client
}

// newKubernetesAPI finds the server and looks whether the files can be used; they are read again for each connection, and the token for each request: tokens of pods live an hour.
func newKubernetesAPI(config KubernetesConfig, env Env) (*kubernetesAPI, error) {
	config, err := config.inCluster(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	if err != nil {
		return nil, err
	}

	base, err := url.Parse(config.URL)
	if err != nil {
		return nil, err
	}

	a := &kubernetesAPI{base: base, config: config, env: env}
	if _, err := a.tls(); err != nil {
		return nil, err
	}

	if _, err := a.token(); err != nil {
		return nil, err
	}

	// HTTP/1.1: a request that times out takes its connection along. On HTTP/2 a dead connection would be used on until the kernel gives it up.
	var protocols http.Protocols
	protocols.SetHTTP1(true)

	a.client = &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialTLSContext:      a.dial,
			Protocols:           &protocols,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
		},
	}

	return a, nil
}

func (a *kubernetesAPI) dial(ctx context.Context, network, address string) (net.Conn, error) {
	config, err := a.tls()
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()

	return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
}

// tls is the client's side by the files as they are now.
func (a *kubernetesAPI) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}

	if a.config.CA != "" {
		content, err := a.env.ReadFile(a.config.CA)
		if err != nil {
			return nil, fmt.Errorf("reading kubernetes.ca: %w", err)
		}

		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("reading kubernetes.ca: %s holds no certificate (PEM)", a.config.CA)
		}
	}

	if a.config.Certificate != "" {
		pair, err := a.pair()
		if err != nil {
			return nil, fmt.Errorf("reading kubernetes.certificate and kubernetes.key: %w", err)
		}

		config.Certificates = []tls.Certificate{pair}
	}

	return config, nil
}

func (a *kubernetesAPI) pair() (tls.Certificate, error) {
	certificate, err := a.env.ReadFile(a.config.Certificate)
	if err != nil {
		return tls.Certificate{}, err
	}

	key, err := a.env.ReadFile(a.config.Key)
	if err != nil {
		return tls.Certificate{}, err
	}

	return tls.X509KeyPair(certificate, key)
}

// token is the bearer token as it is now, or empty if there is none to show.
func (a *kubernetesAPI) token() (string, error) {
	if a.config.TokenFile == "" {
		return "", nil
	}

	content, err := a.env.ReadFile(a.config.TokenFile)
	if err != nil {
		return "", fmt.Errorf("reading kubernetes.token_file: %w", err)
	}

	token := strings.TrimSpace(string(content))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("reading kubernetes.token_file: %s holds no token", a.config.TokenFile)
	}

	return token, nil
}

func (a *kubernetesAPI) get(ctx context.Context, path string, query url.Values, into any) error {
	return a.call(ctx, http.MethodGet, path, query, nil, into)
}

func (a *kubernetesAPI) patch(ctx context.Context, path string, body []byte) error {
	// Strict: a key that this server does not know would otherwise be dropped, and with it perhaps the taint.
	query := url.Values{"fieldManager": {fieldManager}, "fieldValidation": {"Strict"}}

	return a.call(ctx, http.MethodPatch, path, query, body, nil)
}

// call asks again if the server has too much to do and says when to come back (429).
func (a *kubernetesAPI) call(ctx context.Context, method, path string, query url.Values, body []byte, into any) error {
	target := a.base.JoinPath(path)
	target.RawQuery = query.Encode()

	for tries := 1; ; tries++ {
		err := a.once(ctx, method, target.String(), body, into)

		var status *statusError
		if !errors.As(err, &status) || status.code != http.StatusTooManyRequests || tries == maxTries {
			return err
		}

		select {
		case <-ctx.Done():
			return errors.Join(status, ctx.Err())
		case <-time.After(status.after):
		}
	}
}

func (a *kubernetesAPI) once(ctx context.Context, method, target string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return err
	}

	token, err := a.token()
	if err != nil {
		return err
	}

	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}

	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", fieldManager)

	if body != nil {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}

	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()

	if response.StatusCode != http.StatusOK {
		err = newStatusError(response)
	} else {
		err = decodeAnswer(response.Body, into, maxAnswer)
	}

	// Who sees us hang up may end with an answer that he would not have given otherwise, and it can still arrive.
	if ctx.Err() != nil {
		return ctx.Err()
	}

	return err
}

// decodeAnswer reads an answer of less than limit bytes to its end, so that its connection can be used again. A nil into only reads.
func decodeAnswer(body io.Reader, into any, limit int64) error {
	limited := &io.LimitedReader{R: body, N: limit}

	if into != nil {
		if err := json.NewDecoder(limited).Decode(into); err != nil && limited.N > 0 {
			return fmt.Errorf("reading the answer: %w", err)
		}
	}

	if _, err := io.Copy(io.Discard, limited); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}

	if limited.N == 0 {
		return fmt.Errorf("the answer has %d bytes or more", limit)
	}

	return nil
}

// statusError is an answer that refuses (Kubernetes API reference, meta/v1 Status).
type statusError struct {
	code            int
	reason, message string
	after           time.Duration
}

func newStatusError(response *http.Response) *statusError {
	e := &statusError{code: response.StatusCode}

	var status struct{ Reason, Message string }
	if json.NewDecoder(io.LimitReader(response.Body, maxError)).Decode(&status) == nil {
		e.reason, e.message = clipped(status.Reason), clipped(status.Message)
	}

	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		e.after = min(max(0, time.Duration(min(seconds, 3600))*time.Second), maxWait)
	}

	return e
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the API server answers %d %s", e.code, http.StatusText(e.code))
	if e.message != "" {
		text += fmt.Sprintf(": %q", e.message)
	}

	switch e.code {
	case http.StatusUnauthorized:
		return text + "; it does not know the token or certificate: look at kubernetes.token_file or kubernetes.certificate"
	case http.StatusForbidden:
		return text + "; the account needs the rights get, list and patch on nodes: kubectl apply -f rbac.yaml"
	default:
		return text
	}
}

func isStatus(err error, code int) bool {
	var status *statusError

	return errors.As(err, &status) && status.code == code
}

// isNotFound tells a node that is not there from a path that leads nowhere.
func isNotFound(err error) bool {
	var status *statusError

	return errors.As(err, &status) && status.code == http.StatusNotFound && status.reason == "NotFound"
}

// clipped cuts what a server said to what fits into a line.
func clipped(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}

	return strings.ToValidUTF8(text[:most], "") + "..."
}
