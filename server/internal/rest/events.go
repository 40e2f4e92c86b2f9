package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

const (
	// heartbeat is how long a stream says nothing at most: clients take it for dead after three of them.
	heartbeat = 15 * time.Second
	// patience is how long a reader may take to make room for what is sent. Whoever is slower is dropped, and comes back with Last-Event-ID.
	patience = 10 * time.Second
	// pause is between two looks at the history: a sweep of many nodes makes many changes.
	pause = 50 * time.Millisecond
	// eventPage is how many changes are read at a time.
	eventPage = 256
	// maxStreams bounds the streams of all callers.
	maxStreams = 256
)

func eventRoutes(r *router) {
	r.slots = make(chan struct{}, maxStreams)
	op := operation("stream-events", http.MethodGet, "/v1/events", "Stream changes of verdicts as server-sent events")
	schemas := r.api.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Events (WHATWG HTML 9.2): the first is ready, with where the stream begins as its id; then verdict for each change, with its generation as its id and a Change as its data. " +
			"A comment every 15 seconds shows that the stream is alive.",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: schemas.Schema(reflect.TypeFor[api.Change](), true, "Change")}},
	}}
	add(r, access.Reader, op, r.events)
}

func (r *router) events(ctx context.Context, in *struct {
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,18}$" doc:"begin after the change of this generation; without: with what happens from now on"`
	Since       string `query:"since" pattern:"^[0-9]{1,18}$" doc:"the same for clients that can't send the header, which goes before"`
},
) (*huma.StreamResponse, error) {
	after, err := r.streamBegin(ctx, in.LastEventID, in.Since)
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return nil, huma.ErrorWithHeaders(huma.NewError(http.StatusServiceUnavailable, "Too many event streams are open; try again in a moment."), http.Header{"Retry-After": {"10"}})
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-r.slots }()
		r.metrics.streams.Inc()
		defer r.metrics.streams.Dec()
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no")                                                       // or nginx keeps events back
		defer func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) }() // for the end of the body
		s := &stream{store: r.config.Store, writer: w, controller: http.NewResponseController(w), after: after}
		if err := s.run(ctx, r.config.Done); err != nil && ctx.Err() == nil {
			r.config.Logger.Warn("an event stream was dropped", "caller", access.From(ctx).Name, "error", err)
		}
	}}, nil
}

// streamBegin is the generation after which a stream begins.
func (r *router) streamBegin(ctx context.Context, header, query string) (int64, error) {
	for _, text := range []string{header, query} {
		if text != "" {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return r.config.Store.LastGeneration(ctx)
}

// stream tells one reader. It keeps nothing for him: what he has not got yet is in the history.
type stream struct {
	store      *store.Store
	writer     http.ResponseWriter
	controller *http.ResponseController
	after      int64
	buffer     bytes.Buffer
}

// run sends until the reader goes, is too slow, or the server stops.
func (s *stream) run(ctx context.Context, done <-chan struct{}) error {
	if err := s.add(api.EventReady, s.after, api.Ready{Generation: s.after}); err != nil {
		return err
	}
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for {
		changed := s.store.Changed() // before looking, or what comes in between is missed
		more, err := s.look(ctx)
		if err != nil {
			return err
		}
		if err := s.flush(); err != nil {
			return err
		}
		if more {
			continue
		}

		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case <-alive.C:
			s.buffer.WriteString(": alive\n\n")
			continue
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case <-time.After(pause):
		}
	}
}

// look takes up what happened since, and tells whether there is more.
func (s *stream) look(ctx context.Context) (more bool, err error) {
	changes, err := s.store.Events(ctx, s.after, eventPage)
	if err != nil {
		return false, err
	}
	for i := range changes {
		c := ChangeOf(&changes[i])
		if err := s.add(api.EventVerdict, c.Generation, c); err != nil {
			return false, err
		}
		s.after = c.Generation
	}
	return len(changes) == eventPage, nil
}

func (s *stream) add(kind string, id int64, data any) error {
	raw, err := json.Marshal(data) // on one line
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.buffer, "event: %s\nid: %d\ndata: %s\n\n", kind, id, raw)
	return nil
}

// flush sends what was taken up, or fails if the reader does not make room for it in time.
func (s *stream) flush() error {
	if s.buffer.Len() == 0 {
		return nil
	}
	if err := s.controller.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("bounding how long a reader may take: %w", err)
	}
	if _, err := s.writer.Write(s.buffer.Bytes()); err != nil {
		return err
	}
	s.buffer.Reset()
	return s.controller.Flush()
}
