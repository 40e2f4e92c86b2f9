package store

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// TestAStandbyIsNotReadFrom has two machines in the URL. The first refuses to be written to, as a standby does: it may lack what was withdrawn.
func TestAStandbyIsNotReadFrom(t *testing.T) {
	t.Parallel()

	primary, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	name := pgx.Identifier{strings.TrimPrefix(primary.Path, "/")}.Sanitize()
	standby, err := url.Parse(pgtest.Start(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), standby.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"CREATE DATABASE " + name, "ALTER DATABASE " + name + " SET default_transaction_read_only = on"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, second := standby.Query().Get("host"), primary.Query().Get("host")
	database := "postgres://trustpool@" + primary.Path + "?host=" + url.QueryEscape(first+","+second)

	s, err := Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for name, query := range map[string]func() (string, error){
		"reading": func() (readOnly string, err error) {
			return readOnly, s.read.QueryRowContext(t.Context(), "SHOW transaction_read_only").Scan(&readOnly)
		},
		"following": func() (readOnly string, err error) {
			config, err := s.connection()
			if err != nil {
				return "", err
			}
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				return "", err
			}
			return readOnly, errors.Join(conn.QueryRow(t.Context(), "SHOW transaction_read_only").Scan(&readOnly), conn.Close(t.Context()))
		},
	} {
		if readOnly, err := query(); err != nil || readOnly != "off" {
			t.Errorf("%s: read only is %q, %v", name, readOnly, err)
		}
	}
}

// TestAURLMaySayItselfWhichMachinesAreMeant: an operator's own target_session_attrs stays.
func TestAURLMaySayItselfWhichMachinesAreMeant(t *testing.T) {
	t.Parallel()

	for session, checks := range map[string]bool{"": true, "?target_session_attrs=read-write": true, "?target_session_attrs=primary": true, "?target_session_attrs=any": false} {
		config, err := (&Store{name: "postgres://a@localhost/trustpool" + session}).connection()
		if err != nil || (config.ValidateConnect != nil) != checks {
			t.Errorf("%q: %v", session, err)
		}
	}
}

// TestARenewedCertificateIsTakenUp: the files that the URL names were replaced while the server runs, and the next connection is made with what is in them.
func TestARenewedCertificateIsTakenUp(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	issue := func() *pki.Pair {
		ca, err := pki.New("test")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := ca.Issue(pki.Leaf{DNSNames: []string{"trustpool"}, Client: true, NotAfter: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"ca.pem": ca.PEM(), "cert.pem": pair.CertPEM, "key.pem": pair.KeyPEM, "pgpass": []byte("*:*:*:*:" + pair.Certificate.Leaf.SerialNumber.String() + "\n")} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return pair
	}
	issue()
	s := &Store{name: "postgres://trustpool@db1.example,db2.example/trustpool?sslmode=verify-full&sslrootcert=" + dir + "/ca.pem&sslcert=" + dir + "/cert.pem&sslkey=" + dir + "/key.pem&passfile=" + dir + "/pgpass"}
	config, err := s.connection()
	if err != nil {
		t.Fatal(err)
	}
	before := config.TLSConfig.RootCAs
	pair := issue()
	if err := s.renew(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if want := pair.Certificate.Leaf.SerialNumber.String(); config.Password != want {
		t.Errorf("the password is %s, want %s", config.Password, want)
	}
	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	if len(ways) != 2 {
		t.Fatalf("%d ways, want one to each machine", len(ways))
	}
	for _, way := range ways {
		if diff := cmp.Diff(pair.Certificate.Certificate, way.TLSConfig.Certificates[0].Certificate); diff != "" {
			t.Errorf("%s: %s", way.Host, diff)
		}
		if way.TLSConfig.RootCAs.Equal(before) {
			t.Errorf("%s: the authorities are those of before", way.Host)
		}
	}
}
