package challenge

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier/client"
)

// Peer says how the agent of a node is known.
type Peer struct {
	// Config gives the client certificate and the CAs of the nodes, for a new connection. If its VerifyConnection is set, it is asked again before each challenge whether the connection may be kept.
	Config func() (*tls.Config, error)
	// ServerName is the host name that has to be in its certificate; URI, if not empty, the URI that has to be the only one there, in place of a host name.
	ServerName, URI string
	// Named: whoever certified the URI vouches for the node's name by it. Of host names, the certificate tells by itself.
	Named bool
	// Epoch is another one when connections of before have to be made anew. Nil: they are kept as long as they last.
	Epoch *tls.Config
}

// same says whether connections to the one serve for the other.
func (p Peer) same(other Peer) bool {
	return p.ServerName == other.ServerName && p.URI == other.URI && p.Named == other.Named && p.Epoch == other.Epoch
}

// ByHostName knows agents by the host names in their certificates.
func ByHostName(config func() (*tls.Config, error)) func(*trust.Node) (Peer, error) {
	return func(node *trust.Node) (Peer, error) {
		return Peer{Config: config, ServerName: cmp.Or(node.ServerName, node.Name)}, nil
	}
}

// ByURI knows agents by the URIs in their certificates. config is that for calling who has the URI, always the same one until connections have to be made anew.
func ByURI(uri func(*trust.Node) (uri string, named bool, err error), config func(uri string) (*tls.Config, error)) func(*trust.Node) (Peer, error) {
	return func(node *trust.Node) (Peer, error) {
		id, named, err := uri(node)
		if err != nil {
			return Peer{}, err
		}
		epoch, err := config(id)
		if err != nil {
			return Peer{}, err
		}
		return Peer{Config: func() (*tls.Config, error) { return epoch, nil }, URI: id, Named: named, Epoch: epoch}, nil
	}
}

// recheck asks a connection's VerifyConnection again what it has said in the last handshake.
type recheck struct {
	verify func(tls.ConnectionState) error
	state  atomic.Pointer[tls.ConnectionState]
}

// note has the config keep who was found at the other end.
func (r *recheck) note(config *tls.Config) {
	if r.verify = config.VerifyConnection; r.verify == nil {
		return
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := r.verify(state)
		if err == nil {
			r.state.Store(&state)
		}
		return err
	}
}

// wrong says why the connection may not be kept.
func (r *recheck) wrong() error {
	state := r.state.Load()
	if r.verify == nil || state == nil {
		return nil
	}
	return r.verify(*state)
}

// connect makes a connection, or rather prepares it: the first call makes it.
func (p Peer) connect(address string) (*client.Client, *recheck, error) {
	config, err := p.Config()
	if err != nil {
		return nil, nil, fmt.Errorf("preparing TLS: %w", err)
	}
	config = config.Clone()
	config.ServerName = p.ServerName
	again := &recheck{}
	again.note(config)
	connection, err := client.Dial(client.Options{Address: address, TLS: config, ServerURI: p.URI})
	return connection, again, err
}
