package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// explain adds what to do about an error.
func explain(err error) error {
	if err == nil || console.Hint(err) != "" {
		return err
	}
	hint := statusHint(api.StatusOf(err))
	if hint == "" {
		hint = wayHint(err)
	}
	if hint == "" {
		return err
	}
	return console.WithHint(err, "%s", hint)
}

// statusHint is for what the server answered; empty if its own words say what to do.
func statusHint(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "The server does not know this caller. Check --token-file (or --cert and --key); a token may have ended or been removed."
	case http.StatusForbidden:
		return "It takes a greater role: reader < operator < admin. trustpoolctl summary tells who you are to the server."
	case http.StatusPreconditionFailed:
		return "Somebody changed it since. Look at it again, and decide again."
	case http.StatusServiceUnavailable:
		return "Try again in a moment; the server's log says why."
	default:
		return ""
	}
}

// wayHint is for what went wrong on the way to the server.
func wayHint(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		lookup    *net.DNSError
	)
	switch {
	case errors.As(err, &authority):
		return "The server's certificate is of none of the CAs that are trusted. Give those of the server with --ca."
	case errors.As(err, &name):
		return "The server's certificate is for another name. Check the host in --server, or give --server-name."
	case errors.As(err, &invalid):
		return "The server's certificate can't be used. Look at its dates and at what it may be used for."
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		return "The server does not take this client certificate. Check --cert and --key."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens there. Check --server, and that trustpool-server runs there."
	case errors.As(err, &lookup):
		return "Check the host in --server."
	case errors.Is(err, context.DeadlineExceeded):
		return "The server did not answer in time. Give it longer with --timeout, or look at its log."
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "What listens there does not speak TLS. Check the port in --server."
	default:
		return ""
	}
}
