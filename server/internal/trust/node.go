package trust

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier"
)

// State says what is done with a node.
type State string

// The states. Only an active node can be trusted.
const (
	// Pending: the node is known by name and is not enrolled yet. The server enrols it as soon as it is reached.
	Pending State = "pending"
	// Active: the node is enrolled and is challenged.
	Active State = "active"
	// Held: its AK or EK changed, or an administrator stopped it. It is refused until an administrator decides.
	Held State = "held"
	// Decommissioned: it is gone for good. Its names are free; its history is kept.
	Decommissioned State = "decommissioned"
)

// Node is one host that the server knows.
type Node struct {
	// ID is the store's own.
	ID int64
	// Name is what it is called by in verdicts; in lower case, as ParseName gives it. Aliases are its other names, each of which belongs to this node alone.
	Name    string
	Aliases []string
	// Address is that of its agent, host:port.
	Address string
	// ServerName is the name in the server certificate of its agent. Empty: Name.
	ServerName string
	// Pool is the pool whose demands it has to meet.
	Pool string
	// Labels are the administrator's own.
	Labels map[string]string
	// State, and why it is in it.
	State       State
	StateReason string
	// Binding is the level that its enrolment has to reach, and EK what is known of its endorsement key before: for verifier.BindingInventory.
	Binding verifier.EKBinding
	EK      ExpectedEK
	// Record is what the enrolment found; nil before. Only its AKs may sign for the node.
	Record *verifier.NodeRecord
	// Suggestions are what the node calls itself. Nothing is decided by them.
	Suggestions Suggestions
	// Revision counts the changes by administrators and enrolments.
	Revision int64
	// AddedAt and AddedBy tell of its first day.
	AddedAt time.Time
	AddedBy string
}

// ExpectedEK says which endorsement key a node has, as an inventory has it (see verifier.ParseInventory): by its Name, or by its certificate's serial number and issuer.
type ExpectedEK struct {
	Name   verifier.Hex
	Serial *big.Int
	Issuer string
}

// Known tells whether anything is known of the EK.
func (e ExpectedEK) Known() bool { return len(e.Name) > 0 || e.Serial != nil }

// Suggestions are a node's words about itself.
type Suggestions struct {
	HostNames    []string `json:"host_names,omitempty"`
	SMBIOSUUID   string   `json:"smbios_uuid,omitempty"`
	SMBIOSSerial string   `json:"smbios_serial,omitempty"`
}

// Names returns all names of the node, its own first.
func (n *Node) Names() []string { return append([]string{n.Name}, n.Aliases...) }

const (
	maxAliases = 16
	maxLabels  = 32
)

// Check tells all that is wrong with what an administrator says of a node, each on a line of its own. It does not look at State, Record and what the store fills in.
func (n *Node) Check() error {
	var errs []error
	add := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}

	for i, name := range n.Names() {
		what := "name"
		if i > 0 {
			what = "aliases"
		}
		parsed, err := ParseName(name)
		if err == nil && parsed != name {
			err = fmt.Errorf("%q has capital letters, write %q", name, parsed)
		}
		if err == nil && slices.Contains(n.Names()[:i], name) {
			err = fmt.Errorf("%s is there twice, write it once", name)
		}
		add(what, err)
	}
	if len(n.Aliases) > maxAliases {
		add("aliases", fmt.Errorf("there are %d, write at most %d", len(n.Aliases), maxAliases))
	}
	add("address", checkAddress(n.Address))
	_, err := ParseWord(n.Pool)
	add("pool", err)
	add("labels", checkLabels(n.Labels))
	add("ek", n.checkBinding())
	return errors.Join(errs...)
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || len(address) > maxName+8 {
		return fmt.Errorf("%.64q is no address, write host:port", address)
	}
	return nil
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("there are %d, write at most %d", len(labels), maxLabels)
	}
	var errs []error
	for key, value := range labels {
		_, err := ParseWord(key)
		errs = append(errs, err, checkText(key, value))
	}
	return errors.Join(errs...)
}

// checkBinding wants the level to be said, and an inventory to know something.
func (n *Node) checkBinding() error {
	switch n.Binding {
	case verifier.BindingInventory:
		if !n.EK.Known() && n.Record == nil {
			return errors.New("the binding inventory needs the EK's Name, or the serial number and issuer of its certificate")
		}
	case verifier.BindingChain, verifier.BindingFirstUse:
		if n.EK.Known() {
			return fmt.Errorf("an EK is named, which the binding %s does not look at: write the binding %s", n.Binding, verifier.BindingInventory)
		}
	default:
		return fmt.Errorf("the binding %.32q is none: write %s, %s or %s", string(n.Binding), verifier.BindingInventory, verifier.BindingChain, verifier.BindingFirstUse)
	}
	if (n.EK.Serial == nil) != (n.EK.Issuer == "") {
		return errors.New("a certificate's serial number and issuer go together")
	}
	if n.Record != nil && len(n.EK.Name) > 0 && !bytes.Equal(n.EK.Name, n.Record.EK.Name) {
		return fmt.Errorf("its Name is not that of the EK in the record, %s", n.Record.EK.Name)
	}
	if n.Record != nil && n.Record.Binding != n.Binding {
		return fmt.Errorf("the record is of an enrolment by %s, write that binding", n.Record.Binding)
	}
	return nil
}
