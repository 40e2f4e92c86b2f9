package api

import (
	"encoding/json"
	"time"
)

// PoolSpec is what nodes have to meet to be trusted together.
type PoolSpec struct {
	Description string `json:"description,omitempty" maxLength:"1024"`
	// Requires are the parts that have to be known good, all of them. A pool that requires nothing trusts nobody.
	Requires []Requirement `json:"requires" nullable:"false" maxItems:"3" doc:"parts that have to be known good, all of them; none: nobody is trusted"`
	// Bindings are the levels of enrolment that are taken. None: inventory and chain.
	Bindings []string `json:"bindings,omitempty" nullable:"false" maxItems:"3" enum:"inventory,chain,first_use" doc:"levels of enrolment that are taken; none: inventory and chain"`
	// AllowSimulatedNodes takes nodes that say that their TPM is simulated. For trying things out.
	AllowSimulatedNodes bool `json:"allow_simulated_nodes,omitempty" doc:"take nodes that say that their TPM is simulated"`
}

// Requirement demands a part.
type Requirement struct {
	// Part is platform, hypervisor or host_specific.
	Part string `json:"part" enum:"platform,hypervisor,host_specific"`
	// Match says how many of the part's sets have to hold: any_of or all_of.
	Match string `json:"match" enum:"any_of,all_of"`
}

// Pool is a pool as it is.
type Pool struct {
	Name string `json:"name"`
	PoolSpec
	Revision int64 `json:"revision" doc:"its ETag"`
}

// Pools are all pools, by name.
type Pools struct {
	Pools []Pool `json:"pools" nullable:"false"`
}

// SetSpec is a draft of a set of known-good values.
type SetSpec struct {
	Description string `json:"description,omitempty" maxLength:"1024"`
	// Part is what the set speaks of: platform, hypervisor or host_specific.
	Part string `json:"part" enum:"platform,hypervisor,host_specific"`
	// Pools are those in which it counts. None: it counts nowhere.
	Pools []string `json:"pools" nullable:"false" maxItems:"1000" doc:"pools in which it counts"`
	// Node is the name of the node that it is for, if Part is host_specific; else empty.
	Node string `json:"node,omitempty" maxLength:"253" doc:"the node that it is for, if the part is host_specific"`
	// KnownGood are its values, as a known-good file has them (verifier.KnownGood, trustpool-known-good/1), without ak. Left out in lists.
	KnownGood json.RawMessage `json:"known_good,omitempty" doc:"its values, as a known-good file (trustpool-known-good/1) has them, without ak"`
	// Source says where the values are from.
	Source string `json:"source,omitempty" maxLength:"1024" doc:"where the values are from"`
	// ValidFrom and ValidUntil bound the time in which it counts; zero: no bound.
	ValidFrom  time.Time `json:"valid_from,omitzero"`
	ValidUntil time.Time `json:"valid_until,omitzero"`
}

// The states of a set, which follow each other.
const (
	SetDraft   = "draft"
	SetActive  = "active"
	SetRetired = "retired"
)

// Set is a set of known-good values as it is.
type Set struct {
	// Name is unique for ever: a change of an approved set is a new one.
	Name string `json:"name"`
	SetSpec
	// State is draft, active or retired; only an active set decides.
	State      string    `json:"state" enum:"draft,active,retired" doc:"only an active set decides"`
	Author     string    `json:"author"`
	CreatedAt  time.Time `json:"created_at"`
	ApprovedBy string    `json:"approved_by,omitempty"`
	ApprovedAt time.Time `json:"approved_at,omitzero"`
	RetiredBy  string    `json:"retired_by,omitempty"`
	RetiredAt  time.Time `json:"retired_at,omitzero"`
	Revision   int64     `json:"revision" doc:"its ETag"`
}

// Sets is a page of a list of sets, without their values.
type Sets struct {
	Sets []Set  `json:"sets" nullable:"false"`
	Next string `json:"next,omitempty" doc:"the parameter after of the next page"`
}

// SetFilter selects sets of a list: GET /v1/sets. Empty fields select all.
type SetFilter struct {
	State string
	Pool  string
}
