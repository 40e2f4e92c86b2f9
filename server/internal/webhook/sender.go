package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/trustpool/trustpool/server/internal/secretfile"
)

const (
	// attemptTime bounds one delivery, from dialing to the end of the answer.
	attemptTime = 15 * time.Second
	// maxAnswer bounds what is read of an answer, which nobody looks at.
	maxAnswer = 64 << 10
	// maxFile bounds files of secrets and CAs, in bytes.
	maxFile = 1 << 20
)

// sender sends deliveries of one hook.
type sender struct {
	target Target
	read   func(string) ([]byte, error)

	client *http.Client
	ca     [sha256.Size]byte // of the file that client was made with
}

// delivery is one message.
type delivery struct {
	id   string
	body []byte
}

// refusal is an answer that is no success.
type refusal struct {
	status int
	// after is when the receiver wants to be asked again; 0 if it does not say.
	after time.Duration
}

func (r *refusal) Error() string {
	text := http.StatusText(r.status)
	if r.status/100 == 3 {
		text += ", which is not followed: write the address that it leads to"
	}
	return fmt.Sprintf("the receiver answered %d %s", r.status, text)
}

// send makes one attempt. The files are read anew for each, so that they can be exchanged.
func (s *sender) send(ctx context.Context, d delivery) error {
	keys, err := s.files()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target.URL, bytes.NewReader(d.body))
	if err != nil {
		return errors.New("its url can't be used")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "trustpool-server")
	keys.sign(request.Header, d.id, time.Now(), d.body)
	response, err := s.client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok { // its text has the whole address, in which some receivers have a secret
		return fmt.Errorf("calling %s: %w", request.URL.Host, failed.Err)
	}
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)) // or the connection can't be used again
	_ = response.Body.Close()                                            // what it says matters to nobody
	if response.StatusCode/100 == 2 {
		return nil
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // RFC 9110, 10.2.3; dates are not understood
	return &refusal{status: response.StatusCode, after: time.Duration(max(0, min(seconds, 86400))) * time.Second}
}

// files reads the secrets, and makes a client if there is none for these CAs.
func (s *sender) files() (secrets, error) {
	content, err := s.file("secret_file", s.target.SecretFile)
	if err != nil {
		return nil, err
	}
	keys, err := parseSecrets(content)
	if err == nil {
		err = secretfile.Check(s.target.SecretFile)
	}
	if err != nil {
		return nil, fmt.Errorf("secret_file %s: %w", s.target.SecretFile, err)
	}
	var ca []byte
	if s.target.CA != "" {
		if ca, err = s.file("ca", s.target.CA); err != nil {
			return nil, err
		}
	}
	if digest := sha256.Sum256(ca); s.client == nil || digest != s.ca {
		client, err := newClient(s.target.CA, ca)
		if err != nil {
			return nil, err
		}
		s.close()
		s.client, s.ca = client, digest
	}
	return keys, nil
}

func (s *sender) file(key, path string) ([]byte, error) {
	content, err := s.read(path)
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", key, path, err)
	}
	return content, nil
}

func (s *sender) close() {
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}

// newClient follows no redirect: the operator named one address, and nobody else is to choose where this server connects to.
func newClient(name string, ca []byte) (*http.Client, error) {
	var roots *x509.CertPool // nil: the system's
	if name != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("ca %s: it has no certificate (PEM)", name)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// wantsPause is how long a receiver wants to be left alone.
func wantsPause(err error) time.Duration {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.after
	}
	return 0
}
