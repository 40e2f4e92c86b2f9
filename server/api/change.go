package api

import "time"

// Change is one change of a host's verdict.
type Change struct {
	// Node is the name of the node, Pool the one that it was in when the verdict changed; for a move, that which it leaves.
	Node string `json:"node"`
	Pool string `json:"pool"`
	// Verdict is as it became, whether it has expired since or not; its Generation numbers the change, its ChangedAt is when.
	Verdict
	// Rebooted: the node had booted anew since the quote before.
	Rebooted bool `json:"rebooted,omitempty" doc:"the node had booted anew since the quote before"`
}

// Changes is a page of a node's history, the newest first: GET /v1/nodes/{name}/history.
type Changes struct {
	Changes []Change `json:"changes" nullable:"false"`
	// Next is the parameter before of the next page; 0: this was the last.
	Next int64 `json:"next,omitempty" doc:"the parameter before of the next page"`
}

// The kinds of events of GET /v1/events (server-sent events, WHATWG HTML 9.2).
const (
	// EventReady is the first of each stream: its Generation is where the stream begins. Whoever lists all hosts after it misses nothing.
	EventReady = "ready"
	// EventVerdict is a change of a verdict.
	EventVerdict = "verdict"
)

// Event is something that happened.
type Event struct {
	// Kind is EventReady or EventVerdict. Others may follow in later versions: leave them alone.
	Kind string
	// Generation is the id of the event: where to go on after it.
	Generation int64
	// Change is what changed, of an EventVerdict.
	Change Change
}

// Ready is the data of an EventReady.
type Ready struct {
	Generation int64 `json:"generation" doc:"where the stream begins"`
}

// EvidenceLastGood and EvidenceLastBad name the last evidence of a node that was trusted, or was not; others have a number, which Verdict.EvidenceID tells.
const (
	EvidenceLastGood = "good"
	EvidenceLastBad  = "bad"
)

// Delivery is what a webhook is sent: one change. docs/webhooks.md says how it is signed.
type Delivery struct {
	// Type is EventVerdict. Others may follow in later versions: leave them alone.
	Type string `json:"type"`
	// Timestamp is when the change was made.
	Timestamp time.Time `json:"timestamp"`
	// Data is what the stream of events tells of the change.
	Data Change `json:"data"`
}
