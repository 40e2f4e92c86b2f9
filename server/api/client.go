package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says where the server is, and who is calling.
type Config struct {
	// URL is that of the server, https://HOST:PORT, with a path before /v1 if a proxy has it elsewhere.
	URL string
	// Token is a bearer token. Empty: the certificate tells who is calling.
	Token string
	// Certificates are the caller's own, the first of which is shown to a server that asks for one.
	Certificates []tls.Certificate
	// RootCAs judge the server's certificate. Nil: those of the system.
	RootCAs *x509.CertPool
	// ServerName is the name that has to be in the server's certificate. Empty: the host of URL.
	ServerName string
	// UserAgent names the program. Empty: trustpool.
	UserAgent string
}

// Client asks the server. It is safe for concurrent use. Calls end with their context; they have no other time limit.
type Client struct {
	base   *url.URL
	config Config
	http   *http.Client
}

// NewClient returns a Client. It does not dial.
func NewClient(config Config) (*Client, error) {
	base, err := url.Parse(config.URL)
	if err != nil || base.Host == "" || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return nil, fmt.Errorf("the server's URL %q can't be used, write https://HOST:PORT", config.URL)
	}
	if base.Scheme != "https" {
		return nil, fmt.Errorf("the server's URL %q is not of https: anybody on the way could read the token and change the answers", config.URL)
	}
	if strings.ContainsFunc(config.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token has spaces or letters that no token has")
	}
	base.Path = strings.TrimSuffix(strings.TrimSuffix(base.Path, "/"), "/v1")
	if config.UserAgent == "" {
		config.UserAgent = "trustpool"
	}

	return &Client{base: base, config: config, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: config.RootCAs, Certificates: config.Certificates, ServerName: config.ServerName},
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   10 * time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   16,
			ResponseHeaderTimeout: time.Minute,
		},
		// The token is for this server, and for no other to which it may send us.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes connections that wait for the next call.
func (c *Client) Close() { c.http.CloseIdleConnections() }
