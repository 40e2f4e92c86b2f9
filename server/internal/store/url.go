package store

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// IsURL tells whether a database is one of PostgreSQL's, and not a file.
func IsURL(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

// Redacted is a database as people may read it.
func Redacted(database string) string {
	if !IsURL(database) {
		return database
	}
	parsed, err := url.Parse(database)
	if err != nil {
		return "postgres://..."
	}
	parsed.RawQuery = ""
	return parsed.Redacted()
}

// fileParameters are those that name files (PostgreSQL, 34.1.2).
func fileParameters() []string {
	return []string{"passfile", "servicefile", "sslcert", "sslkey", "sslrootcert"}
}

// CheckURL tells all that is wrong with the URL of a PostgreSQL database in itself. It opens nothing.
func CheckURL(database string) error {
	parsed, err := url.Parse(database)
	if err != nil {
		return errors.New("it is no URL; write postgres://USER@HOST/DATABASE?sslmode=verify-full&passfile=/PATH")
	}
	var errs []error
	if _, has := parsed.User.Password(); has || parsed.Query().Has("password") {
		errs = append(errs, errors.New("it has a password in it; write that into a file as *:*:*:*:PASSWORD, and add passfile=/PATH to the URL"))
	}
	for _, name := range fileParameters() {
		value := parsed.Query().Get(name)
		if value != "" && value != "system" && !filepath.IsAbs(value) && !strings.HasPrefix(value, "credential:") {
			errs = append(errs, fmt.Errorf("%s=%s is neither an absolute path nor credential:NAME; write one of them", name, value))
		}
	}
	return errors.Join(errs...)
}

// CheckURLFiles looks whether the files can be read that the URL of a PostgreSQL database names, and whether the connection will be safe. It connects to nothing.
func CheckURLFiles(database string) error {
	_, err := parseURL(database)
	return err
}

// ResolveFiles puts what path makes of it in the place of each file that a URL names.
func ResolveFiles(database string, path func(string) (string, error)) (string, error) {
	parsed, err := url.Parse(database)
	if err != nil {
		return "", err
	}
	values := parsed.Query()
	for _, name := range fileParameters() {
		if !values.Has(name) {
			continue
		}
		file, err := path(values.Get(name))
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		values.Set(name, file)
	}
	parsed.RawQuery = values.Encode()
	return parsed.String(), nil
}

// parseURL reads the URL of a database, with what the files and the environment add to it (PostgreSQL, 34.1).
func parseURL(database string) (*pgx.ConnConfig, error) {
	if err := CheckURL(database); err != nil {
		return nil, err
	}
	parsed, err := url.Parse(database)
	if err != nil {
		return nil, err
	}
	if file := parsed.Query().Get("passfile"); file != "" {
		if err := checkSecret(file); err != nil {
			return nil, err
		}
	}
	config, err := pgx.ParseConfig(database)
	if err != nil {
		return nil, err
	}
	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	for _, way := range ways {
		isVerified := way.TLSConfig != nil && (!way.TLSConfig.InsecureSkipVerify || way.TLSConfig.VerifyPeerCertificate != nil)
		if !isVerified && !isLocal(way.Host) {
			return nil, fmt.Errorf("nobody would look whether %s is the right machine; add sslmode=verify-full to the URL, and sslrootcert=/PATH if an authority of your own signs its certificate", way.Host)
		}
	}
	return config, nil
}

// saysSession tells whether a URL says itself which machines are connected to, by whether they can be written to.
func saysSession(database string) bool {
	parsed, err := url.Parse(database)
	return err == nil && parsed.Query().Has("target_session_attrs")
}

// isLocal tells whether a host is this machine: the folder of a socket, or a loopback address.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return filepath.IsAbs(host) || strings.HasPrefix(host, "@") || host == "localhost" || err == nil && ip.IsLoopback()
}

// checkSecret refuses a file that others may read, which libpq would pass over.
func checkSecret(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("passfile: %w", err)
	}
	given := os.Getenv("CREDENTIALS_DIRECTORY") // by systemd, which guards it by other means than the mode
	if info.Mode().Perm()&0o077 != 0 && (given == "" || filepath.Dir(path) != filepath.Clean(given)) {
		return fmt.Errorf("passfile: others may read %s; run chmod 600 %[1]s", path)
	}
	return nil
}
