package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// nodeState is what is told of a node.
type nodeState struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Scenario string `json:"scenario"`
	// Running is whether the machine is on and its agent runs; Status is what the agent says of itself.
	Running bool   `json:"running"`
	Status  string `json:"status,omitempty"`
	EKName  string `json:"ek_name"`
}

// state tells of the node as it is now. It waits while the node boots.
func (n *node) state() nodeState {
	n.mu.Lock()
	defer n.mu.Unlock()

	s := nodeState{Name: n.name, Address: n.address, Scenario: string(n.scenario), Running: n.agent != nil, EKName: n.ekName}
	if s.Running {
		s.Status = n.agent.status.line()
	}

	return s
}

// line is the same for people.
func (s nodeState) line() string {
	if !s.Running {
		return fmt.Sprintf("%s  %s  off", s.Name, s.Address)
	}

	status, _, _ := strings.Cut(s.Status, " with AK ") // --json tells which

	return fmt.Sprintf("%s  %s  %s  %s", s.Name, s.Address, s.Scenario, status)
}

// teller tells what happens, for people or as JSON.
type teller struct {
	mu   sync.Mutex
	out  io.Writer // guarded by mu
	json bool
}

func newTeller(out io.Writer, asJSON bool) *teller { return &teller{out: out, json: asJSON} }

// event is one line of --json.
type event struct {
	Event string     `json:"event"` // started, ready
	Node  *nodeState `json:"node,omitempty"`
	Nodes int        `json:"nodes,omitempty"`
	// Seconds is how long all nodes took to start.
	Seconds float64 `json:"seconds,omitempty"`
	Memory  *memory `json:"memory,omitempty"`
	Dir     string  `json:"dir,omitempty"`
}

// say writes one line: the event, or the text.
func (t *teller) say(e event, text string) {
	line := text
	if t.json {
		raw, err := json.Marshal(e)
		if err != nil {
			return // of these types it never fails
		}

		line = string(raw)
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	if line != "" {
		fmt.Fprintln(t.out, line)
	}
}

// few is how many nodes people are told of one by one.
const few = 20

// started tells of a node that has come up, the done-th of all.
func (t *teller) started(n *node, done, all int) {
	s := n.state()

	text := ""
	if all <= few {
		text = s.line()
	} else if done%max(1, all/10) == 0 {
		text = fmt.Sprintf("%d of %d nodes run", done, all)
	}

	t.say(event{Event: "started", Node: &s}, text)
}

// ready tells that all nodes run, and what that costs.
func (t *teller) ready(f *fleet, took time.Duration) {
	m := measureMemory(len(f.nodes))
	t.say(event{Event: "ready", Nodes: len(f.nodes), Seconds: took.Seconds(), Memory: &m, Dir: f.dir},
		fmt.Sprintf("%d nodes run after %.1f s, with %s\nfor a server: nodes.csv and pki/ in %s; Ctrl-C ends it", len(f.nodes), took.Seconds(), m, f.dir))
}
