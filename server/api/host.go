package api

import "time"

// Trust is what a scheduler acts on.
type Trust string

// The words are OpenAttestation's. Whatever is not Trusted, also the empty word, is not trusted.
const (
	Trusted   Trust = "trusted"
	Untrusted Trust = "untrusted"
	Unknown   Trust = "unknown"
)

// Verdict is what is known of a host, as it stood when the server answered.
type Verdict struct {
	// Trust is trusted, untrusted or unknown. A verdict that has expired is unknown.
	Trust Trust `json:"trust" enum:"trusted,untrusted,unknown" doc:"what a scheduler acts on"`
	// Reason says in one word why: ok, and nothing else, if it is trusted. The list is in docs/api.md.
	Reason string `json:"reason" doc:"why, in one word; ok if and only if trusted" example:"pcr_mismatch"`
	// Detail says it in a sentence, for people.
	Detail string `json:"detail,omitempty" doc:"why, in a sentence, for people"`
	// QuotedAt is when the nonce was made that the evidence answers; zero if there is no evidence.
	QuotedAt time.Time `json:"quoted_at,omitzero" doc:"when the nonce was made that the evidence answers"`
	// ExpiresAt is when the verdict ends, or ended.
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"when the verdict ends; drop it then"`
	// ChangedAt is when it became what it is; later quotes that said the same do not change it.
	ChangedAt time.Time `json:"changed_at,omitzero" doc:"when the verdict became what it is"`
	// Generation numbers the changes of all verdicts: of two verdicts on a host the one with the greater is newer. 0: there never was one.
	Generation int64 `json:"generation" doc:"number of the change that led to this verdict; grows over all hosts"`
	// EvidenceID names the evidence of that change; 0 if there is none.
	EvidenceID int64 `json:"evidence_id,omitempty" doc:"number of the evidence of that change"`
	// Sets are the known-good sets that the evidence met, if the host is trusted.
	Sets []string `json:"sets,omitempty" nullable:"false" doc:"known-good sets that the evidence met"`
	// EKBinding says what ties the host's keys to its TPM: inventory, chain, or first_use, which proves nothing about hardware.
	EKBinding string `json:"ek_binding,omitempty" doc:"inventory, chain or first_use, which proves nothing about hardware"`
	// Boot tells one boot of the host from another: any change is a reboot. Nil if no quote was authentic yet.
	Boot *Boot `json:"boot,omitempty"`
}

// Boot are the counters of the host's TPM (TPM 2.0 Part 2, 10.11.1).
type Boot struct {
	ResetCount   uint32 `json:"reset_count"`
	RestartCount uint32 `json:"restart_count"`
}

// TrustedAt tells whether the verdict lets a host be used at a time. Whoever keeps verdicts asks this each time, and not Trust alone.
func (v *Verdict) TrustedAt(now time.Time) bool {
	return v.Trust == Trusted && now.Before(v.ExpiresAt)
}

// Host is the answer for one name.
type Host struct {
	// Host is the name that was asked for, byte for byte; in lists, the node's own.
	Host string `json:"host" doc:"the name that was asked for, byte for byte"`
	// Node is the node's own name and Pool its pool; empty if no node has the name.
	Node string `json:"node,omitempty" doc:"the node's own name"`
	Pool string `json:"pool,omitempty"`
	Verdict
}

// HostQuery asks for many hosts at once: POST /v1/hosts:query.
type HostQuery struct {
	// Hosts are names or aliases, at most 10,000.
	Hosts []string `json:"hosts" nullable:"false" maxItems:"10000" doc:"names or aliases"`
}

// MaxQuery is how many names one HostQuery may have.
const MaxQuery = 10_000

// Hosts is the answer to a HostQuery, with one entry for each name in their order, and a page of a list.
type Hosts struct {
	// EvaluatedAt is the time for which the verdicts stand.
	EvaluatedAt time.Time `json:"evaluated_at" doc:"the time for which the verdicts stand"`
	Hosts       []Host    `json:"hosts" nullable:"false"`
	// Next is the parameter after of the next page; empty: this was the last.
	Next string `json:"next,omitempty" doc:"the parameter after of the next page"`
}

// HostFilter selects hosts of a list: GET /v1/hosts. Empty fields select all.
type HostFilter struct {
	Pool  string
	Trust Trust
}

// Summary counts what the server knows: GET /v1/summary.
type Summary struct {
	EvaluatedAt time.Time `json:"evaluated_at"`
	// Generation is that of the last change of any verdict.
	Generation int64 `json:"generation" doc:"that of the last change of any verdict"`
	// Total counts all nodes that are not decommissioned, Pools those of each pool.
	Total Count            `json:"total"`
	Pools map[string]Count `json:"pools" doc:"by the pool's name"`
	// OpenAlarms are those that nobody acknowledged, counted up to 1000.
	OpenAlarms int `json:"open_alarms" doc:"alarms that nobody acknowledged, counted up to 1000"`
}

// Count is how many nodes have which verdict now.
type Count struct {
	Trusted   int `json:"trusted"`
	Untrusted int `json:"untrusted"`
	Unknown   int `json:"unknown"`
}

// Caller is who the server takes the caller for: GET /v1/caller.
type Caller struct {
	// Name is what the admin log shows: token:NAME, dns:NAME, uri:URI or subject:NAME.
	Name string `json:"name" example:"token:scheduler"`
	// Role is reader, operator or admin.
	Role string `json:"role" enum:"reader,operator,admin"`
}
