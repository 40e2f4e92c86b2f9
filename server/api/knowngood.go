package api

import (
	"encoding/json"
	"time"
)

// Capture says how drafts are called that are learned from a node: POST /v1/nodes/{name}/capture.
type Capture struct {
	// Prefix begins their names: PREFIX-platform, PREFIX-hypervisor, PREFIX-host.
	Prefix string `json:"prefix" minLength:"1" maxLength:"100" doc:"begins the names of the sets: PREFIX-platform, PREFIX-hypervisor, PREFIX-host" example:"xen-4.17"`
	// Pools are those in which they are to count. None: the node's.
	Pools []string `json:"pools,omitempty" nullable:"false" maxItems:"1000" doc:"pools in which they are to count; none: the node's"`
	// Parts moves PCRs from the part that they are split into by themselves to another: by the PCR's number.
	Parts map[string]string `json:"parts,omitempty" doc:"moves PCRs to another part: the PCR's number, and platform, hypervisor or host_specific"`
}

// Captured are drafts that were learned from a node.
type Captured struct {
	// Sets are the drafts, without their values.
	Sets []Set `json:"sets" nullable:"false"`
	// QuotedAt is when the nonce of the evidence was made, EvidenceID its number.
	QuotedAt   time.Time `json:"quoted_at"`
	EvidenceID int64     `json:"evidence_id"`
	// Notes say what to look at before approving.
	Notes []string `json:"notes,omitempty" nullable:"false" doc:"what to look at before approving"`
}

// The formats of sets that come in and go out.
const (
	FormatTrustpool          = "trustpool"
	FormatKeylime            = "keylime-tpm-policy"
	FormatOpenAttestationMLE = "openattestation-mle"
)

// SetImport is a set from elsewhere: POST /v1/sets:import.
type SetImport struct {
	// Format is FormatTrustpool, FormatKeylime or FormatOpenAttestationMLE.
	Format string `json:"format" enum:"trustpool,keylime-tpm-policy,openattestation-mle"`
	// Document is the file, which is JSON in each format.
	Document json.RawMessage `json:"document" doc:"the file, as it is"`
	// Name, Part and Node are those of the file if they are empty.
	Name string `json:"name,omitempty" maxLength:"128" doc:"empty: that of the file"`
	Part string `json:"part,omitempty" enum:"platform,hypervisor,host_specific" doc:"left out: that of the file"`
	Node string `json:"node,omitempty" maxLength:"253" doc:"the node that it is for, if the part is host_specific; empty: that of the file"`
	// Pools are those in which it is to count.
	Pools []string `json:"pools,omitempty" nullable:"false" maxItems:"1000"`
}

// ImportedSet is the draft that was made, and what of the file is not in it.
type ImportedSet struct {
	Set Set `json:"set"`
	// Untrusted are values of SHA-1 banks, at most 100. Nothing may rest on them, and they are in no set.
	Untrusted []UntrustedValue `json:"untrusted,omitempty" nullable:"false" doc:"values of SHA-1 banks, which are in no set; at most 100"`
	Notes     []string         `json:"notes,omitempty" nullable:"false" doc:"what was left out"`
}

// UntrustedValue is a value of a SHA-1 bank, in hexadecimal digits.
type UntrustedValue struct {
	Bank  string `json:"bank"`
	PCR   int    `json:"pcr"`
	Value string `json:"value"`
}

// Comparison names two sets: POST /v1/sets:compare.
type Comparison struct {
	A string `json:"a" minLength:"1" maxLength:"128"`
	B string `json:"b" minLength:"1" maxLength:"128"`
}

// SetDifferences are what differs between A and B, at most 1000. None: whatever meets one meets the other.
type SetDifferences struct {
	Differences []SetDifference `json:"differences" nullable:"false"`
}

// SetDifference is one thing in which two sets differ.
type SetDifference struct {
	// Kind is pcr (only one speaks of the PCR, or by other means), values, digests (a slot is in both) or slot (only one has it).
	Kind string `json:"kind" enum:"pcr,values,digests,slot"`
	Bank string `json:"bank"`
	PCR  int    `json:"pcr"`
	// SlotA and SlotB are the slot's places, from 1; 0 if the set has none.
	SlotA int `json:"slot_a,omitempty"`
	SlotB int `json:"slot_b,omitempty"`
	// OnlyA and OnlyB are what only one of them allows, in hexadecimal digits.
	OnlyA []string `json:"only_a,omitempty" nullable:"false"`
	OnlyB []string `json:"only_b,omitempty" nullable:"false"`
	// Text says it in one line.
	Text string `json:"text"`
}

// DryRun is a change that is not made: POST /v1/sets:dry-run. What it names happens all at once.
type DryRun struct {
	// Approve are drafts that would be put in force, Retire sets that would end.
	Approve []string `json:"approve,omitempty" nullable:"false" maxItems:"100" doc:"drafts that would be put in force"`
	Retire  []string `json:"retire,omitempty" nullable:"false" maxItems:"100" doc:"sets that would end"`
	// Sets would be made and put in force, by name: they are not on the server yet.
	Sets map[string]SetSpec `json:"sets,omitempty" maxProperties:"100" doc:"sets that would be made and put in force, by name"`
	// Pools would be as they are here, by name.
	Pools map[string]PoolSpec `json:"pools,omitempty" maxProperties:"100" doc:"pools as they would be, by name"`
}

// Effect is what a change would do to the nodes of the pools that it touches, judged by the newest evidence of each.
type Effect struct {
	// Pools are those that it touches.
	Pools []string `json:"pools" nullable:"false"`
	// Judged counts the nodes whose evidence was judged; Trusted and Untrusted of them stay what they are.
	Judged    int `json:"judged"`
	Trusted   int `json:"trusted" doc:"nodes that stay trusted"`
	Untrusted int `json:"untrusted" doc:"nodes that stay untrusted"`
	// Condemned counts those that are trusted and would not be, Pardoned the opposite. Undecided counts those of which the stored evidence does not tell.
	Condemned int `json:"condemned" doc:"nodes that are trusted and would not be"`
	Pardoned  int `json:"pardoned" doc:"nodes that are not trusted and would be"`
	Undecided int `json:"undecided" doc:"nodes of which the stored evidence does not tell: it lacks a PCR, or is not whole"`
	// WithoutEvidence counts active nodes that have none, Idle those that are not active.
	WithoutEvidence int `json:"without_evidence"`
	Idle            int `json:"idle" doc:"nodes that are not active"`
	// Nodes are those that are condemned, pardoned or undecided, at most 1000 of each.
	Nodes []Turned `json:"nodes" nullable:"false" doc:"the nodes that are condemned, pardoned or undecided; at most 1000 of each"`
}

// The words of Turned.Effect.
const (
	Condemned = "condemned"
	Pardoned  = "pardoned"
	Undecided = "undecided"
)

// Turned is a node whose verdict would turn, or can't be told.
type Turned struct {
	Node   string `json:"node"`
	Pool   string `json:"pool"`
	Effect string `json:"effect" enum:"condemned,pardoned,undecided"`
	// QuotedAt is when the nonce of the evidence was made.
	QuotedAt time.Time `json:"quoted_at"`
	// Reason and Detail are those of the verdict that it would have, ReasonNow that of the one that it has by the same evidence.
	ReasonNow string `json:"reason_now"`
	Reason    string `json:"reason"`
	Detail    string `json:"detail,omitempty"`
}
