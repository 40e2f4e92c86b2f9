package connect

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
)

// settings are where the server is and who is asking, in one of the places that may say so.
type settings struct {
	// Server is the server's URL.
	Server string `yaml:"server"`
	// TokenFile holds a bearer token.
	TokenFile string `yaml:"token_file"`
	// CA holds the CAs of the server.
	CA string `yaml:"ca"`
	// Cert and Key are a client certificate.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ServerName is the name in the server's certificate.
	ServerName string `yaml:"server_name"`
}

// Validate implements daemon.Config. What is missing here others may say.
func (s *settings) Validate() error { return nil }

// configFile is where a person's settings are; empty if there is no place for them.
func configFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "trustpool", "ctl.yaml")
}

// settings returns what counts, which is enough to ask a server.
func (f *Flags) settings(getenv func(string) string, file string) (settings, error) {
	saved, err := readSettings(file)
	if err != nil {
		return settings{}, err
	}
	environment := settings{
		Server: getenv("TRUSTPOOL_SERVER"), TokenFile: getenv("TRUSTPOOL_TOKEN_FILE"), CA: getenv("TRUSTPOOL_CA"),
		Cert: getenv("TRUSTPOOL_CERT"), Key: getenv("TRUSTPOOL_KEY"), ServerName: getenv("TRUSTPOOL_SERVER_NAME"),
	}
	s := f.given.over(environment.over(saved))
	return s, s.check()
}

// readSettings reads a file, whose paths count from its folder. None is none.
func readSettings(path string) (settings, error) {
	var s settings
	if _, err := os.Stat(path); path == "" || errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err := daemon.LoadConfig(path, &s); err != nil {
		return s, err
	}
	for _, name := range []*string{&s.TokenFile, &s.CA, &s.Cert, &s.Key} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(path), *name)
		}
	}
	return s, nil
}

// over returns what s says, and what only under says. Who is asking is never put together from both, or the token of one would go before the certificate of the other.
func (s settings) over(under settings) settings {
	if s.TokenFile+s.Cert+s.Key == "" {
		s.TokenFile, s.Cert, s.Key = under.TokenFile, under.Cert, under.Key
	}
	s.Server = cmp.Or(s.Server, under.Server)
	s.CA = cmp.Or(s.CA, under.CA)
	s.ServerName = cmp.Or(s.ServerName, under.ServerName)
	return s
}

func (s *settings) check() error {
	if s.Server == "" {
		return console.WithHint(console.Usagef("there is no server to ask"),
			"Give --server https://HOST:PORT, set TRUSTPOOL_SERVER, or write server: https://HOST:PORT into ~/.config/trustpool/ctl.yaml.")
	}
	if (s.Cert == "") != (s.Key == "") {
		return console.Usagef("--cert and --key go together: the one that is missing has to be said where the other is")
	}
	if s.TokenFile+s.Cert == "" {
		return console.WithHint(console.Usagef("the server answers nobody whom it does not know, and nothing says who is asking"),
			"Give --token-file, or --cert and --key; or set TRUSTPOOL_TOKEN_FILE, or TRUSTPOOL_CERT and TRUSTPOOL_KEY.")
	}
	return nil
}
