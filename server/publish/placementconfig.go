package publish

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// PlacementFile is the configuration of the publisher for OpenStack, /etc/trustpool-server/publish-placement.yaml.
type PlacementFile struct {
	Config    `yaml:",inline"`
	Placement PlacementConfig `yaml:"placement"`
}

// PlacementConfig says where an OpenStack cloud is, and as whom trustpool calls it.
type PlacementConfig struct {
	// CloudsFile is a clouds.yaml, the file that OpenStack's own clients read, with the credentials of a user whose role may change traits: a password or an application credential. Instead of a
	// path, credential:NAME means what systemd's LoadCredential=NAME:... gave to the unit. It is read again after a call that failed. Default: /etc/trustpool-server/clouds.yaml.
	CloudsFile string `yaml:"clouds_file"`
	// Cloud is the name of the cloud in that file. It is needed.
	Cloud string `yaml:"cloud"`
	// Endpoint is the URL of Placement, ComputeEndpoint that of Nova (with /v2.1), where they are not those of the service catalog. Defaults: none, they are looked up there.
	Endpoint        string `yaml:"endpoint"`
	ComputeEndpoint string `yaml:"compute_endpoint"`
	// Timeout bounds each request, with its answer. Default: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// AllowPlaintext sends credentials and tokens over http:// to other machines, where whoever is on the way can take them and mark any host as trusted. Default: false; loopback is
	// always allowed.
	AllowPlaintext bool `yaml:"allow_plaintext"`
	// AllowNoAuthentication calls as "admin" without credentials, for tests: only an API whose auth_strategy is noauth2 accepts that, and whoever reaches such an API can mark any host as
	// trusted. Endpoint is needed then, and CloudsFile is not read. Default: false.
	AllowNoAuthentication bool `yaml:"allow_no_authentication"`
}

// DefaultPlacementFile returns the defaults that a file is read over.
func DefaultPlacementFile() *PlacementFile {
	return &PlacementFile{
		Config:    DefaultConfig("CUSTOM_TRUSTED_POOL", "127.0.0.1:9446"),
		Placement: PlacementConfig{CloudsFile: "/etc/trustpool-server/clouds.yaml", Timeout: 10 * time.Second},
	}
}

// Validate implements File.
func (f *PlacementFile) Validate() error {
	var p problems

	for i, mark := range f.Marks {
		if err := checkTrait(mark.Name); err != nil {
			p.add(fmt.Sprintf("marks[%d].name", i), "%v", err)
		}
	}

	if f.Bars.NoGuests != Never {
		p.add("bars.no_guests", "Nova can't make the guests leave that run on a host; write %s", Never)
	}

	f.Placement.validate(&p, f.barred())

	return errors.Join(append(p, f.Config.Validate())...)
}

// barred: are there hosts that Nova is asked to keep new guests from?
func (f *PlacementFile) barred() bool {
	return f.Bars.NoNewGuests != Never
}

func (c PlacementConfig) validate(p *problems, barred bool) {
	if c.AllowNoAuthentication {
		checkCatalogless(p, "placement.endpoint", c.Endpoint, true)
		checkCatalogless(p, "placement.compute_endpoint", c.ComputeEndpoint, barred)
	} else {
		checkFile(p, "placement.clouds_file", c.CloudsFile)
	}

	if !c.AllowNoAuthentication && c.CloudsFile == "" {
		p.add("placement.clouds_file", "missing; write the path of a clouds.yaml")
	}

	if !c.AllowNoAuthentication && c.Cloud == "" {
		p.add("placement.cloud", "missing; write the name of the cloud in %s", c.CloudsFile)
	}

	checkEndpoint(p, "placement.endpoint", c.Endpoint, c.AllowPlaintext)
	checkEndpoint(p, "placement.compute_endpoint", c.ComputeEndpoint, c.AllowPlaintext)
	checkDuration(p, "placement.timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
}

func checkCatalogless(p *problems, key, endpoint string, needed bool) {
	if needed && endpoint == "" {
		p.add(key, "missing; without authentication there is no service catalog to find it in")
	}
}

func checkEndpoint(p *problems, key, endpoint string, plaintext bool) {
	if endpoint == "" {
		return
	}

	switch u, err := url.Parse(endpoint); {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		p.add(key, "%q is no URL of an API; write https://HOST:PORT", endpoint)
	case u.Scheme == "http" && !plaintext && !isLoopback(u.Hostname()):
		p.add(key, "%q is not encrypted; write https://HOST:PORT, or allow_plaintext: true", endpoint)
	}
}

// checkTrait says what is wrong with the name of a trait that is to be published, nil if nothing is. Placement's own names are not for us to give, so that it has to begin with CUSTOM_; the
// rest are Placement's rules (https://docs.openstack.org/api-ref/placement/#traits).
func checkTrait(name string) error {
	const most = 255

	rest, custom := strings.CutPrefix(name, "CUSTOM_")
	letters := func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' }

	if !custom || rest == "" || len(name) > most || strings.IndexFunc(rest, func(r rune) bool { return !letters(r) }) >= 0 {
		return fmt.Errorf("%q can't be a trait; write CUSTOM_ and then A-Z, 0-9 and _, at most %d characters in all, as CUSTOM_TRUSTED_POOL", name, most)
	}

	return nil
}
