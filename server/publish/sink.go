// Package publish carries verdicts to where schedulers look: it keeps marks on the hosts that are trusted, and on no others.
//
// It asks the attestation server for the hosts that a sink knows, works out what should be shown of each (the State), and writes what differs. Whatever it can't know counts as not trusted: a
// server that does not answer, a verdict that has expired, a host that nobody attests.
//
// A sink is one file: it reads and writes States, and decides nothing.
package publish

import (
	"context"
	"errors"
)

// Sink is a place where schedulers look for trusted hosts. Its methods are called one at a time, but for Write, which is called for several hosts at once.
type Sink interface {
	// Read returns the state of each host that the sink knows, by the name that the sink calls it. A host of which nothing is shown is there with the zero State.
	Read(ctx context.Context) (map[string]State, error)
	// Write has the sink show this state of a host, and changes nothing else about it. It reads again and retries where somebody else wrote meanwhile. ErrNoHost: the sink does not know
	// the host any more.
	Write(ctx context.Context, host string, want State) error
}

// ErrNoHost says that a sink does not know a host.
var ErrNoHost = errors.New("no such host")

// State is what a sink shows of a host, or should show. The zero State shows nothing: no scheduler that asks for trust chooses the host.
type State struct {
	// Marks are those that the host bears of all the marks that are published, sorted, each once. Each stands for pools in which the host is trusted; a Placement trait is one, a node label is another.
	Marks []string
	// Bar keeps guests from the host, also those that do not ask for trust.
	Bar Bar
	// Reason says for people why there is a bar, in a word as pcr_mismatch; a sink adds who says so where that is needed. It is written with the bar, and does not make two states differ.
	Reason string
	// Held: an operator keeps guests from the host himself. It is read only: such a host is neither barred nor freed.
	Held bool
	// ID is what the sink knows the host by besides its name, such as a provider's or a node's UUID; empty if it has no such thing. It is read only, and does not make two states differ. A name that
	// gets another ID is another host's.
	ID string
}

// Bar is what a host is kept from.
type Bar uint8

const (
	// NoBar lets guests in, and stay.
	NoBar Bar = iota
	// NoNewGuests lets none in; those that run there stay. Nova: the compute service is disabled. Kubernetes: a taint NoSchedule.
	NoNewGuests
	// NoGuests has those that run there leave, too. Kubernetes: a taint NoExecute. Not every sink can do it.
	NoGuests
)
