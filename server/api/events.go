package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// silence is how long a stream may say nothing: three heartbeats of the server.
	silence = 45 * time.Second
	// maxEvent bounds one line of a stream, and all lines of one event together.
	maxEvent = 1 << 20
	// maxPause is the longest pause before a stream is opened again.
	maxPause = 30 * time.Second
)

// FromNow has a stream of events begin now.
const FromNow int64 = -1

// errSilent says that a stream is dead: the server sends a heartbeat every 15 seconds.
var errSilent = errors.New("the server has said nothing for " + silence.String())

// Events opens one stream of what happens after a generation; FromNow: from now on. It ends with an error, always: when the stream breaks, the server ends it, or ctx ends. Whoever has to
// know that verdicts are still told uses this; the others Follow.
func (c *Client) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := c.events(ctx, after, func(e Event) bool { return yield(e, nil) })
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// Follow is Events over as many streams as it takes: where one breaks, the next goes on after its last event. Each break is told as an error, after which the iteration goes on; it ends when
// ctx does, or when the server refuses the caller.
func (c *Client) Follow(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		pause := time.Second
		for {
			err := c.events(ctx, after, func(e Event) bool {
				after, pause = e.Generation, time.Second
				return yield(e, nil)
			})
			if err == nil || !yield(Event{}, err) || ctx.Err() != nil || StatusOf(err)/100 == 4 {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // spreads load, guards nothing
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// events calls each for every event of one stream. It returns nil if each wanted no more.
func (c *Client) events(ctx context.Context, after int64, each func(Event) bool) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watch.Stop()

	r := get("events")
	r.header = http.Header{"Accept": {"text/event-stream, application/problem+json;q=0.9"}}
	if after >= 0 {
		r.header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	}
	response, err := c.send(ctx, r)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()

	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var e rawEvent
	for lines.Scan() {
		watch.Reset(silence)
		if len(e.data)+len(lines.Bytes()) > maxEvent {
			return fmt.Errorf("reading events: one has more than %d bytes", maxEvent)
		}
		if whole := e.add(lines.Bytes()); !whole {
			continue
		}
		event, err := e.parse()
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		e = rawEvent{}
		if event.Kind != "" && !each(event) {
			return nil
		}
	}
	return fmt.Errorf("reading events: %w", errors.Join(ended(lines.Err()), context.Cause(ctx)))
}

// ended is io.ErrUnexpectedEOF for a stream that just ended.
func ended(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// rawEvent is an event as its lines tell it.
type rawEvent struct{ kind, id, data []byte }

// add reads one line (WHATWG HTML 9.2.6), and tells whether it ended the event. Lines that begin with a colon are heartbeats.
func (e *rawEvent) add(line []byte) bool {
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		e.kind = bytes.Clone(value)
	case "id":
		e.id = bytes.Clone(value)
	case "data":
		e.data = append(append(e.data, value...), '\n')
	}
	return len(line) == 0 && e.data != nil
}

// parse returns an Event; its Kind is empty if the event is of no kind that is known here.
func (e *rawEvent) parse() (Event, error) {
	event := Event{Kind: string(e.kind)}
	if event.Kind != EventVerdict && event.Kind != EventReady {
		return Event{}, nil
	}
	var err error
	if event.Generation, err = strconv.ParseInt(string(e.id), 10, 64); err != nil {
		return Event{}, fmt.Errorf("the id %.32q is no generation", e.id)
	}
	if event.Kind == EventReady {
		return event, nil
	}
	if err := json.Unmarshal(e.data, &event.Change); err != nil {
		return Event{}, fmt.Errorf("the event %d: %w", event.Generation, err)
	}
	return event, nil
}
