package api

import (
	"encoding/json"
	"time"
)

// RefusedAK is an attestation key that is trusted no more, whoever enrolled it.
type RefusedAK struct {
	// Name is the key's Name (TPM 2.0 Part 1, 16) in hexadecimal digits.
	Name string    `json:"name"`
	Note string    `json:"note,omitempty"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// RefusedAKs are all of them.
type RefusedAKs struct {
	RefusedAKs []RefusedAK `json:"refused_aks" nullable:"false"`
}

// Refusal says why an AK is refused: PUT /v1/refused-aks/{ak}.
type Refusal struct {
	Note string `json:"note,omitempty" maxLength:"1024"`
}

// Alarm is something that an administrator has to look at.
type Alarm struct {
	ID int64     `json:"id"`
	At time.Time `json:"at"`
	// Kind is name_taken (somebody claimed a name that belongs to another node), key_changed (a key signed for a node that is not enrolled for it) or key_shared (a node has the EK
	// of another one).
	Kind   string `json:"kind" doc:"name_taken, key_changed or key_shared" example:"name_taken"`
	Node   string `json:"node"`
	Detail string `json:"detail"`
	// AcknowledgedBy is empty until somebody has looked.
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
}

// Alarms is a page of a list of alarms, the oldest first: GET /v1/alarms.
type Alarms struct {
	Alarms []Alarm `json:"alarms" nullable:"false"`
	// Next is the parameter after of the next page; 0: this was the last.
	Next int64 `json:"next,omitempty" doc:"the parameter after of the next page"`
}

// AdminEntry is one entry of the log of what administrators did.
type AdminEntry struct {
	// Seq counts from 1 without gaps.
	Seq int64     `json:"seq"`
	At  time.Time `json:"at"`
	By  string    `json:"by"`
	// Action is a word such as node.add, Subject what it was done to.
	Action  string `json:"action" example:"node.add"`
	Subject string `json:"subject"`
	// Detail is a JSON value.
	Detail json.RawMessage `json:"detail,omitempty"`
	// Hash is SHA-256 over the hash of the entry before and all fields of this one.
	Hash string `json:"hash" doc:"SHA-256 over the hash of the entry before and all fields of this one, hexadecimal"`
}

// AdminLog is a page of the log, in its order: GET /v1/admin-log.
type AdminLog struct {
	Entries []AdminEntry `json:"entries" nullable:"false"`
	// Next is the parameter after of the next page; 0: this was the last.
	Next int64 `json:"next,omitempty" doc:"the parameter after of the next page"`
}

// AdminLogCheck tells whether each entry of the log is bound to the one before: GET /v1/admin-log/check. That the end was cut off shows only to whoever has noted a later number and hash.
type AdminLogCheck struct {
	Intact bool `json:"intact"`
	// Last is the number of the last entry that is good, Hash its hash.
	Last int64  `json:"last"`
	Hash string `json:"hash"`
	// Problem says what is wrong, if it is not intact.
	Problem string `json:"problem,omitempty"`
}

// TokenSpec asks for a bearer token: POST /v1/tokens.
type TokenSpec struct {
	// Name is what people call it, and what the admin log shows.
	Name string `json:"name" minLength:"1" maxLength:"128" example:"scheduler"`
	// Role is reader, operator or admin.
	Role string `json:"role" enum:"reader,operator,admin"`
	// ExpiresAt is when it ends; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"when it ends; without: never"`
}

// Token is what the server keeps of a bearer token. It can't be used.
type Token struct {
	TokenSpec
	// ID is the part of the token that is no secret.
	ID        string    `json:"id"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// NewToken is a token that was just made.
type NewToken struct {
	// Token is its text. The server keeps it nowhere: this is the only time that it is told.
	Token string `json:"token" doc:"its text, which is told this once"`
	TokenSpec
}

// Tokens are all tokens, by name.
type Tokens struct {
	Tokens []Token `json:"tokens" nullable:"false"`
}
