// Package client asks a node's agent for evidence over gRPC and turns the answer into a verifier.Evidence.
//
// It judges nothing. It trusts the node with nothing either: each field of an answer is bounded before it is kept, a log's bytes must have the
// digest that the answer gives for them, and text is freed of control characters. Whether the answer is what was asked for (nonce,
// selection, key) is for verifier.Verify to say.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

const (
	// maxMessage bounds one answer: all the logs, and room for the rest.
	maxMessage = maxLogBytes + 1<<20
	// maxHeaders bounds the headers and trailers of an answer, which carry the status message and its details.
	maxHeaders = 64 << 10
	// window is how much a node may send before it is read. It is fixed: to find a better one, gRPC would send a ping with each answer.
	window = 1 << 20
)

// Client asks one agent. It is safe for concurrent use; the calls share one connection.
type Client struct {
	address string
	byURI   bool // and not by a host name
	conn    *grpc.ClientConn
	quotes  agentv1.QuoteServiceClient
}

// Options say which agent to ask and how to know it.
type Options struct {
	// Address is host:port, or unix:///path for an agent on this machine.
	Address string
	// TLS holds the client certificate and the CAs of the nodes. The server name defaults to the host in Address. Versions below TLS 1.3 are
	// switched off. Needed with host:port; must be nil with a unix socket, where the kernel tells the agent who is calling.
	TLS *tls.Config
	// ServerURI is the URI that has to be in the node's certificate, as the only one there, in place of a server name: a SPIFFE ID, say. Its CAs should be those of the URI's authority alone: any
	// of them can certify any URI. Empty: the server name counts.
	ServerURI string
}

// Dial prepares a connection; the first call makes it. The caller closes the client.
//
// It fails where the connection would not be authenticated on both sides.
func Dial(opts Options) (*Client, error) {
	creds, err := transportCredentials(opts)
	if err != nil {
		return nil, fmt.Errorf("dialing %q: %w", opts.Address, err)
	}

	target := opts.Address
	if opts.TLS != nil {
		target = "dns:///" + target // or gRPC would take some host names for the name of a resolver
	}
	conn, err := grpc.NewClient(target, append(limits(), grpc.WithTransportCredentials(creds))...)
	if err != nil {
		return nil, fmt.Errorf("dialing %q: %w", opts.Address, err)
	}

	c := newClient(opts.Address, conn)
	c.byURI = opts.ServerURI != ""
	return c, nil
}

// limits keeps a node, a proxy of the environment and a DNS server from deciding how the calls are made.
func limits() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}
}

func newClient(address string, conn *grpc.ClientConn) *Client {
	return &Client{address: address, conn: conn, quotes: agentv1.NewQuoteServiceClient(conn)}
}

// Close ends the connection and the calls on it.
func (c *Client) Close() error {
	return c.conn.Close()
}

// Capabilities asks what the node's TPM and agent can do. The answer is unsigned: use it to choose what to ask for, never to judge.
func (c *Client) Capabilities(ctx context.Context) (*agentv1.GetCapabilitiesResponse, error) {
	resp, err := c.quotes.GetCapabilities(ctx, &agentv1.GetCapabilitiesRequest{})
	if err != nil {
		return nil, fmt.Errorf("asking %s for its capabilities: %w", c.address, newCallError(err))
	}
	if err := cleanCapabilities(resp); err != nil {
		return nil, fmt.Errorf("reading the capabilities of %s: %w", c.address, err)
	}

	return resp, nil
}

// transportCredentials refuses every way to end up with a peer that nobody has authenticated.
func transportCredentials(opts Options) (credentials.TransportCredentials, error) {
	if rest, isUnix := strings.CutPrefix(opts.Address, "unix:"); isUnix {
		if !strings.HasPrefix(rest, "///") {
			return nil, errors.New("a unix socket is written unix:///absolute/path")
		}
		if opts.TLS != nil || opts.ServerURI != "" {
			return nil, errors.New("a unix socket takes no TLS")
		}
		return insecure.NewCredentials(), nil
	}

	host, port, err := net.SplitHostPort(opts.Address)
	if err != nil || host == "" || port == "" || strings.Contains(opts.Address, "/") {
		return nil, errors.New("an address is written host:port or unix:///path")
	}
	if err := checkTLS(opts.TLS); err != nil {
		return nil, err
	}

	config := opts.TLS.Clone()
	config.MinVersion = tls.VersionTLS13
	if opts.ServerURI != "" {
		if err := CheckServerURI(opts.ServerURI); err != nil {
			return nil, err
		}
		knownByURI(config, opts.ServerURI)
	}
	return credentials.NewTLS(config), nil
}

func checkTLS(config *tls.Config) error {
	switch {
	case config == nil:
		return errors.New("TLS is needed, with a client certificate")
	case config.RootCAs == nil:
		return errors.New("TLS: the CAs of the nodes are missing; those of the system are no substitute")
	case config.InsecureSkipVerify:
		return errors.New("TLS: the node's certificate has to be verified")
	case len(config.Certificates) == 0 && config.GetClientCertificate == nil:
		return errors.New("TLS: the client certificate is missing")
	case config.MaxVersion != 0 && config.MaxVersion < tls.VersionTLS13:
		return errors.New("TLS 1.3 is needed")
	}
	return nil
}
