package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

const (
	// placementVersion is the oldest microversion with all that is used here: null parents (1.14), required (1.18), codes in errors (1.23). Placement has it since Rocky.
	placementVersion = "1.23"
	// computeVersion is the oldest one whose services and hypervisors are named by UUIDs. Nova has it since Pike. From 2.88 on, listing hypervisors would call each host.
	computeVersion = "2.53"

	// answerLimit bounds what an API may answer; a list of 100,000 resource providers has some 45 MiB.
	answerLimit = 64 << 20
	// spareConnections are kept open to each API, for writes at the same time.
	spareConnections = 16
)

// cloud is an OpenStack cloud to which trustpool has authenticated.
type cloud struct {
	client *gophercloud.ProviderClient
	where  gophercloud.EndpointOpts

	placement *gophercloud.ServiceClient
	// compute is nil until it was needed and found.
	compute *gophercloud.ServiceClient
}

// connect authenticates, and finds Placement in the catalog.
func connect(ctx context.Context, c PlacementConfig, readFile func(string) ([]byte, error)) (*cloud, error) {
	client, where, err := authenticate(ctx, c, readFile)
	if err != nil {
		return nil, err
	}

	placement, err := service(client, where, c.Endpoint, "placement", placementVersion, openstack.NewPlacementV1)

	return &cloud{client: client, where: where, placement: placement}, err
}

// findCompute finds Nova, unless that was done before.
func (c *cloud) findCompute(endpoint string) (err error) {
	if c.compute == nil {
		c.compute, err = service(c.client, c.where, endpoint, "compute", computeVersion, openstack.NewComputeV2)
	}

	return err
}

// authenticate gets a token, which is renewed whenever an API does not take it any more.
func authenticate(ctx context.Context, c PlacementConfig, readFile func(string) ([]byte, error)) (*gophercloud.ProviderClient, gophercloud.EndpointOpts, error) {
	none := gophercloud.EndpointOpts{}

	if c.AllowNoAuthentication {
		client := &gophercloud.ProviderClient{HTTPClient: httpClient(c, nil)}
		client.UseTokenLock()
		client.SetToken("admin")

		return client, none, nil
	}

	who, err := readCredentials(c, readFile)
	if err != nil {
		return nil, none, err
	}

	client, err := openstack.NewClient(who.user.IdentityEndpoint)
	if err != nil {
		return nil, none, fmt.Errorf("reading auth_url in %s: %w", c.CloudsFile, err)
	}

	client.HTTPClient = httpClient(c, who.tls)
	client.UserAgent.Prepend("trustpool")

	if err := openstack.Authenticate(ctx, client, who.user); err != nil {
		return nil, none, fmt.Errorf("authenticating to %s of %s: %w", c.Cloud, c.CloudsFile, err)
	}

	return client, who.where, nil
}

// credentials are what clouds.yaml says of one cloud.
type credentials struct {
	user  gophercloud.AuthOptions
	where gophercloud.EndpointOpts
	tls   *tls.Config
}

func readCredentials(c PlacementConfig, readFile func(string) ([]byte, error)) (credentials, error) {
	content, err := readFile(c.CloudsFile)
	if err != nil {
		return credentials{}, err
	}

	// What the environment says would count more than the file, were it not for the two empty ones.
	user, where, tlsConfig, err := clouds.Parse(clouds.WithCloudsYAML(bytes.NewReader(content)), clouds.WithCloudName(c.Cloud), clouds.WithRegion(""), clouds.WithEndpointType(""))
	if err != nil {
		return credentials{}, fmt.Errorf("reading %s: %w", c.CloudsFile, err)
	}

	if tlsConfig.InsecureSkipVerify {
		return credentials{}, fmt.Errorf("%s says not to verify the certificates of %s: remove verify, and write the file of their CA under cacert", c.CloudsFile, c.Cloud)
	}

	user.AllowReauth = true

	return credentials{user: user, where: where, tls: tlsConfig}, nil
}

// service finds an API at its endpoint, or in the catalog if that is empty.
func service(client *gophercloud.ProviderClient, where gophercloud.EndpointOpts, endpoint, kind, version string,
	find func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error),
) (*gophercloud.ServiceClient, error) {
	if endpoint != "" {
		return &gophercloud.ServiceClient{ProviderClient: client, Endpoint: gophercloud.NormalizeURL(endpoint), Type: kind, Microversion: version}, nil
	}

	found, err := find(client, where)
	if err != nil {
		return nil, fmt.Errorf("finding %s in the service catalog: %w", kind, err)
	}

	// The library names the microversion's header by this, and leaves it out where it is empty.
	found.Type = cmp.Or(found.Type, kind)
	found.Microversion = version

	return found, nil
}

// httpClient makes a client that bounds each request and its answer, and keeps tokens to the API that they are for.
func httpClient(c PlacementConfig, tlsConfig *tls.Config) http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = spareConnections

	if tlsConfig != nil {
		transport.TLSClientConfig = tlsConfig
		transport.TLSClientConfig.MinVersion = tls.VersionTLS12
	}

	return http.Client{
		Transport: guarded{next: transport, plaintext: c.AllowPlaintext},
		Timeout:   c.Timeout,
		// A redirect would take X-Auth-Token along to wherever it leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guarded sends no token in the clear, and takes no answer without end.
type guarded struct {
	next      http.RoundTripper
	plaintext bool
}

// RoundTrip is http.RoundTripper's.
func (g guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !g.plaintext && !isLoopback(request.URL.Hostname()) {
		return nil, fmt.Errorf("%s://%s is not encrypted: give the API an https endpoint, or write allow_plaintext: true", request.URL.Scheme, request.URL.Host)
	}

	answer, err := g.next.RoundTrip(request)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, answerLimit)
	}

	return answer, err
}

// isLoopback takes addresses only: what a name means may change.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)

	return err == nil && address.IsLoopback()
}

// explained adds to an API's error what an operator can do about it.
func explained(err error) error {
	var expired *gophercloud.ErrUnableToReauthenticate

	switch {
	case err == nil:
		return nil
	case errors.As(err, &expired), gophercloud.ResponseCodeIs(err, http.StatusUnauthorized):
		return fmt.Errorf("%w: check the user and the secret in clouds_file, and that Keystone takes them (openstack --os-cloud NAME token issue)", err)
	case gophercloud.ResponseCodeIs(err, http.StatusForbidden):
		return fmt.Errorf("%w: give the user the role that the policy of this API knows (docs/openstack.md, \"The publisher's role\")", err)
	default:
		return err
	}
}
