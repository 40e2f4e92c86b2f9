package publish

import (
	"log/slog"
	"slices"
	"time"
)

// File is the configuration file of one publisher: a Config, and a section of the sink's own, whose type is in the sink's file.
type File interface {
	// Validate reports all that is wrong, each on a line of its own as `path.to.key: what is wrong, what to write`. It opens no file.
	Validate() error
	// Common is what all publishers have in common.
	Common() *Config
	// Open returns the sink. It reads the files that the section names, and calls nobody.
	Open(env Env) (Sink, error)
}

// Env is what a sink gets from the program around it.
type Env struct {
	// Logger gets what the sink can't return as an error.
	Logger *slog.Logger
	// Marks are the names of all marks that are published, sorted. A sink reads and writes these, and leaves all others alone.
	Marks []string
	// ReadFile reads a file that the configuration names, also credential:NAME. It is asked again whenever the content may have changed.
	ReadFile func(path string) ([]byte, error)
	// Conflict counts a write that had to be repeated since somebody else wrote meanwhile.
	Conflict func()
	// CreateNothing has a sink leave out what it would create beforehand, as for a dry run or a withdrawal. What is missing then, nobody bears.
	CreateNothing bool
}

// Config is what the configuration files of all publishers have in common. Keys that are not named here, or in the sink's section, are refused.
type Config struct {
	Server ServerConfig `yaml:"server"`
	// Interval is the time between two full reconciles. Changes of verdicts are published at once, besides. At most 30s. Default: 5s.
	Interval time.Duration `yaml:"interval"`
	// MaxAge is how long an answer of the attestation server counts after it was asked for. When it has not answered for so long, no host is trusted. Default: 1m.
	MaxAge time.Duration `yaml:"max_age"`
	// Concurrency is how many hosts are written at a time. Default: 8.
	Concurrency int `yaml:"concurrency"`
	// Marks are what trusted hosts bear. Default: the sink's own.
	Marks []MarkConfig `yaml:"marks"`
	// Bars keep guests from hosts that are not trusted. Default: never.
	Bars  BarsConfig  `yaml:"bars"`
	Admin AdminConfig `yaml:"admin"`
}

// ServerConfig says where the attestation server is, and who is asking. Instead of a path, credential:NAME means what systemd's LoadCredential=NAME:... gave to the unit. The files are read again
// when they change; what can't be used replaces nothing.
type ServerConfig struct {
	// URL is https://HOST:PORT. It is needed.
	URL string `yaml:"url"`
	// CA holds the certificates (PEM) of the authorities that sign the server's. Default: those of the system.
	CA string `yaml:"ca"`
	// ServerName is the name in the server's certificate. Default: the host of URL.
	ServerName string `yaml:"server_name"`
	// TokenFile holds a token of the role reader.
	TokenFile string `yaml:"token_file"`
	// Certificate is a client certificate chain (PEM) to which the server gives the role reader, and Key its private key (PEM): instead of a token.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// MarkConfig is a mark, and in which pools a host has to be trusted to bear it.
type MarkConfig struct {
	// Name is the mark's own, as the sink takes it.
	Name string `yaml:"name"`
	// Pools are those whose trusted hosts bear it. Default: all.
	Pools []string `yaml:"pools"`
}

// BarsConfig says for which hosts there are bars. A bar ends when the host is trusted again, not before.
type BarsConfig struct {
	// NoNewGuests is for which hosts there is a bar against new guests: Never, Untrusted, or NotTrusted, which also counts those of which nothing is known. Default: never.
	NoNewGuests BarPolicy `yaml:"no_new_guests"`
	// NoGuests is for which hosts those guests have to leave that run there: Never or Untrusted. Default: never.
	NoGuests BarPolicy `yaml:"no_guests"`
}

// BarPolicy tells for which hosts there is a bar.
type BarPolicy string

// The policies. An attestation server that does not answer makes hosts not trusted, and none untrusted.
const (
	Never BarPolicy = "never"
	// Untrusted are hosts of which the attestation server says just now that they are untrusted.
	Untrusted BarPolicy = "untrusted"
	// NotTrusted are all that are not trusted, also those that nobody attests.
	NotTrusted BarPolicy = "not_trusted"
)

// AdminConfig is the listener for the operator's own tools: metrics and health.
type AdminConfig struct {
	// Address is host:port without TLS. Default: the sink's own. Empty: none.
	Address string `yaml:"address"`
}

// DefaultConfig returns the defaults for one mark, and the address of the admin listener.
func DefaultConfig(mark, admin string) Config {
	return Config{
		Interval: 5 * time.Second, MaxAge: time.Minute, Concurrency: 8, Marks: []MarkConfig{{Name: mark}},
		Bars: BarsConfig{NoNewGuests: Never, NoGuests: Never}, Admin: AdminConfig{Address: admin},
	}
}

// Common implements File for whoever embeds the Config.
func (c *Config) Common() *Config { return c }

// MarkNames returns the names of all marks, sorted.
func (c *Config) MarkNames() []string {
	names := make([]string, 0, len(c.Marks))
	for _, m := range c.Marks {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}
