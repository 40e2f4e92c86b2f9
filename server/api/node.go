package api

import (
	"encoding/json"
	"time"
)

// NodeSpec is what an administrator says of a node.
type NodeSpec struct {
	// Name is what the node is called in verdicts: letters, digits and . - _ :, at most 253. Capital letters become small ones. It never changes.
	Name string `json:"name,omitempty" maxLength:"253" doc:"its own name; never changes" example:"node1.example"`
	// Aliases are its other names, at most 16: each belongs to one node.
	Aliases []string `json:"aliases,omitempty" nullable:"false" maxItems:"16" doc:"its other names"`
	// Address is that of its agent, host:port.
	Address string `json:"address" maxLength:"261" doc:"of its agent, host:port" example:"node1.example:9443"`
	// ServerName is the name in the server certificate of its agent. Empty: Name.
	ServerName string `json:"server_name,omitempty" maxLength:"253" doc:"the name in its agent's server certificate; empty: its name"`
	// Pool is the pool whose demands it has to meet. It has to be there.
	Pool string `json:"pool" maxLength:"128" doc:"the pool whose demands it has to meet"`
	// Labels are the administrator's own, at most 32.
	Labels map[string]string `json:"labels,omitempty" doc:"the administrator's own"`
	// Binding is the level that its enrolment has to reach: inventory, chain or first_use. Empty: inventory.
	Binding string `json:"binding,omitempty" enum:"inventory,chain,first_use" doc:"the level that its enrolment has to reach; empty: inventory"`
	// EK is what is known of its endorsement key before: for the binding inventory.
	EK *ExpectedEK `json:"ek,omitempty" doc:"its endorsement key, for the binding inventory"`
	// Record is that of an enrolment which was made elsewhere (trustpoolctl enroll): the node is active at once. Only where a node is added.
	Record json.RawMessage `json:"record,omitempty" doc:"a node record (trustpool-node/1) of an enrolment that was made elsewhere; only where a node is added"`
}

// ExpectedEK says which endorsement key a node has: by its Name, or by its certificate's serial number and issuer.
type ExpectedEK struct {
	// Name is the key's Name (TPM 2.0 Part 1, 16): the algorithm's number and a digest, in hexadecimal digits.
	Name string `json:"name,omitempty" maxLength:"132" doc:"the key's TPM Name, hexadecimal"`
	// Serial is that of its certificate, in hexadecimal digits, and Issuer as RFC 2253 writes it. They go together.
	Serial string `json:"serial,omitempty" maxLength:"128" doc:"its certificate's serial number, hexadecimal"`
	Issuer string `json:"issuer,omitempty" maxLength:"1024" doc:"its certificate's issuer, as RFC 2253 writes it"`
}

// Node is one host that the server knows.
type Node struct {
	NodeSpec
	// State is pending, active, held or decommissioned; only an active node can be trusted.
	State string `json:"state" enum:"pending,active,held,decommissioned" doc:"only an active node can be trusted"`
	// StateReason says why, if it is not active.
	StateReason string `json:"state_reason,omitempty"`
	// Suggestions are what the node calls itself. Nothing is decided by them.
	Suggestions *Suggestions `json:"suggestions,omitempty" doc:"what the node calls itself; decides nothing"`
	Revision    int64        `json:"revision" doc:"its ETag"`
	AddedAt     time.Time    `json:"added_at"`
	AddedBy     string       `json:"added_by"`
	// Verdict is as it stands now.
	Verdict Verdict `json:"verdict"`
	// Contact is what the server knows of its dealings with the node; nil in lists.
	Contact *Contact `json:"contact,omitempty"`
}

// Suggestions are a node's words about itself: an administrator may take them over as aliases.
type Suggestions struct {
	HostNames    []string `json:"host_names,omitempty" nullable:"false"`
	SMBIOSUUID   string   `json:"smbios_uuid,omitempty"`
	SMBIOSSerial string   `json:"smbios_serial,omitempty"`
}

// Contact is what the server knows of its dealings with a node.
type Contact struct {
	// DueAt is when it is asked next; zero if it is not to be asked. ReachedAt is when it last answered.
	DueAt     time.Time `json:"due_at,omitzero" doc:"when it is asked next"`
	ReachedAt time.Time `json:"reached_at,omitzero" doc:"when it last answered"`
	// Failures counts in a row how often it could not be asked, LastError says why.
	Failures  int    `json:"failures" doc:"how often in a row it could not be asked"`
	LastError string `json:"last_error,omitempty"`
	// GoodQuotes, BadQuotes and Unanswered count all challenges by what became of them.
	GoodQuotes int64 `json:"good_quotes"`
	BadQuotes  int64 `json:"bad_quotes"`
	Unanswered int64 `json:"unanswered"`
}

// Nodes is a page of a list of nodes.
type Nodes struct {
	Nodes []Node `json:"nodes" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"the parameter after of the next page"`
}

// NodeFilter selects nodes of a list: GET /v1/nodes. Empty fields select all, but for decommissioned ones, which only their State selects.
type NodeFilter struct {
	Pool  string
	State string
}

// NodeImport adds many nodes, all or none: POST /v1/nodes:import.
type NodeImport struct {
	Nodes []NodeSpec `json:"nodes" nullable:"false" minItems:"1" maxItems:"100000"`
}

// Imported tells what an import added.
type Imported struct {
	Added int `json:"added" doc:"how many nodes were added"`
}

// Hold says why a node is refused: POST /v1/nodes/{name}/hold.
type Hold struct {
	Reason string `json:"reason" minLength:"1" maxLength:"1024"`
}

// Labels replaces the labels of a node: PUT /v1/nodes/{name}/labels.
type Labels struct {
	Labels map[string]string `json:"labels"`
}
