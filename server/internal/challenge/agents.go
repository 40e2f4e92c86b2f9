package challenge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Agents asks the agents of nodes, over one connection each that is kept. Make one with NewAgents, and run it.
type Agents struct {
	peer   func(*trust.Node) (Peer, error)
	hurry  func(ctx context.Context, name string) error
	logger *slog.Logger

	mu     sync.Mutex
	agents map[int64]*agent // guarded by mu
	swept  time.Time        // when idle connections were last looked for; guarded by mu
	closed bool             // guarded by mu

	watching sync.WaitGroup
	ctx      context.Context // ends the watching
	stop     context.CancelFunc
}

// agent is the connection to one node's agent.
type agent struct {
	*client.Client
	address string
	peer    Peer
	again   *recheck
	sources []string // of its logs; nil before they are known
	usedAt  time.Time
	stop    context.CancelFunc // ends its watching; nil before it begins
	events  *rate.Limiter      // how often what its agent says may have the node asked
}

// NewAgents returns Agents that the caller closes. peer tells how a node's agent is known: ByHostName or ByURI. hurry is called when a node says that something happened to it; nil: nodes are not watched.
func NewAgents(peer func(*trust.Node) (Peer, error), hurry func(ctx context.Context, name string) error, logger *slog.Logger) *Agents {
	ctx, stop := context.WithCancel(context.Background())
	return &Agents{peer: peer, hurry: hurry, logger: logger, agents: make(map[int64]*agent), ctx: ctx, stop: stop}
}

// Close ends all connections, and what is under way on them.
func (a *Agents) Close() error {
	a.stop()
	a.mu.Lock()
	a.closed = true
	var errs []error
	for id, agent := range a.agents {
		errs = append(errs, agent.Close())
		delete(a.agents, id)
	}
	a.mu.Unlock()
	a.watching.Wait()
	return errors.Join(errs...)
}

// idle is how long a connection is kept that nobody uses: its node was removed.
const idle = time.Hour

// dial returns the connection to a node's agent. One that would not be made now, as it is, is dropped.
func (a *Agents) dial(node *trust.Node) (*agent, error) {
	peer, err := a.peer(node)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errors.New("the server is shutting down")
	}
	if err != nil {
		a.drop(node.ID)
		return nil, fmt.Errorf("preparing TLS: %w", err)
	}
	now := time.Now()
	if have := a.agents[node.ID]; have != nil && have.address == node.Address && have.peer.same(peer) && have.again.wrong() == nil {
		have.usedAt = now
		return have, nil
	}
	a.drop(node.ID)
	a.sweep(now)

	connection, again, err := peer.connect(node.Address)
	if err != nil {
		return nil, err
	}
	a.agents[node.ID] = &agent{Client: connection, address: node.Address, peer: peer, again: again, usedAt: now, events: newEvents()}
	return a.agents[node.ID], nil
}

// sweep drops the connections to nodes that were removed. The caller holds the lock.
func (a *Agents) sweep(now time.Time) {
	if now.Sub(a.swept) < idle/4 {
		return
	}
	a.swept = now
	for id, other := range a.agents {
		if now.Sub(other.usedAt) > idle {
			a.drop(id)
		}
	}
}

// drop closes a connection. The caller holds the lock.
func (a *Agents) drop(id int64) {
	agent := a.agents[id]
	if agent == nil {
		return
	}
	if agent.stop != nil {
		agent.stop()
	}
	_ = agent.Close() // what was under way on it fails, and says so
	delete(a.agents, id)
}

// forget drops a connection on which the node did not answer: gRPC would wait longer and longer before it dials again.
func (a *Agents) forget(id int64, failed *agent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.agents[id] == failed {
		a.drop(id)
	}
}

// Challenge implements Challenger.
func (a *Agents) Challenge(ctx context.Context, node *trust.Node, r Request) (verifier.Evidence, error) {
	agent, err := a.dial(node)
	if err != nil {
		return verifier.Evidence{}, err
	}
	reply, err := a.quote(ctx, agent, r)
	if err != nil {
		return verifier.Evidence{}, a.failed(node, agent, err)
	}
	a.watch(node, reply.Evidence.Hints[client.HintBootID], agent)
	return reply.Evidence, nil
}

// quote asks for the quote with all logs. Other servers may ask at the same time, so it may be one for all of them, which proves the same; no pool forbids that. Where the TPM lacks a bank, the other banks are quoted: a set that needs it does not hold, others may.
func (a *Agents) quote(ctx context.Context, agent *agent, r Request) (client.Reply, error) {
	sources, err := a.sources(ctx, agent)
	if err != nil {
		return client.Reply{}, err
	}
	known := maps.Clone(r.KnownLogs)
	maps.DeleteFunc(known, func(source string, _ []byte) bool { return !slices.Contains(sources, source) })
	options := client.QuoteOptions{Nonce: r.Nonce, AcceptAggregation: true, Selection: r.Selection, WantLogs: sources, KnownLogs: known}
	reply, err := agent.Quote(ctx, options)
	if client.Reason(err) == agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE {
		active := activeBanks(r.Selection, client.Details(err)["active_banks"])
		if len(active) > 0 && len(active) < len(r.Selection) {
			options.Selection = active // the agent refused before it signed: the nonce is still unused
			return agent.Quote(ctx, options)
		}
	}
	return reply, err
}

// activeBanks leaves out the banks that the node does not name. What it leaves out is missed when it is judged.
func activeBanks(selection []verifier.Selection, names string) []verifier.Selection {
	var active []eventlog.Alg
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }) {
		if alg, err := eventlog.ParseAlg(name); err == nil {
			active = append(active, alg)
		}
	}
	return slices.DeleteFunc(slices.Clone(selection), func(s verifier.Selection) bool { return !slices.Contains(active, s.Alg) })
}

// sources asks once a connection which logs there are.
func (a *Agents) sources(ctx context.Context, agent *agent) ([]string, error) {
	a.mu.Lock()
	sources := agent.sources
	a.mu.Unlock()
	if sources != nil {
		return sources, nil
	}
	capabilities, err := agent.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	sources = append([]string{}, capabilities.GetLogSources()...)
	a.mu.Lock()
	defer a.mu.Unlock()
	agent.sources = sources
	return sources, nil
}

// failed sorts the ways in which a node can fail to answer.
func (a *Agents) failed(node *trust.Node, agent *agent, err error) error {
	if errors.Is(err, client.ErrMalformed) {
		return &RefusalError{Reason: trust.QuoteInvalid, Err: err}
	}
	switch client.Reason(err) {
	case agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE, agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN:
		return &RefusalError{Reason: trust.PCRMissing, Err: err}
	case agentv1.ErrorReason_ERROR_REASON_AK_INVALIDATED, agentv1.ErrorReason_ERROR_REASON_HIERARCHY_DISABLED, agentv1.ErrorReason_ERROR_REASON_HANDLE_TAKEN,
		agentv1.ErrorReason_ERROR_REASON_AUTH_REQUIRED, agentv1.ErrorReason_ERROR_REASON_RECORD_UNREADABLE, agentv1.ErrorReason_ERROR_REASON_RECORD_UNWRITABLE,
		agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE:
		return &RefusalError{Reason: trust.NoQuote, Err: err}
	default:
		a.forget(node.ID, agent)
		return err
	}
}
