package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/page"
	"github.com/trustpool/trustpool/server/internal/pollhosts"
	"github.com/trustpool/trustpool/server/internal/rest"
)

// newHandler puts the API together. All of it but the set of public keys is behind the Door: a stranger is answered the same, whatever else is asked.
func (s *Server) newHandler() (http.Handler, error) {
	config := access.Config{Store: s.store, Rules: s.config.Clients, Logger: s.deps.Logger, Registerer: s.deps.Registerer}
	if s.deps.TLS != nil {
		config.VerifyTLS = s.deps.TLS.VerifyConnection
	}
	if s.config.Page.Enabled {
		form, err := page.SignIn()
		if err != nil {
			return nil, err
		}
		config.SignIn = form
	}
	keeper, err := access.New(config)
	if err != nil {
		return nil, err
	}
	tools := knowngood.New(s.store)
	api, err := rest.New(rest.Config{
		Store: s.store, Door: keeper, Issuer: s.issuer, Hurry: s.schedule.Hurry, Tools: tools, Done: s.stopping, Logger: s.deps.Logger, Registerer: s.deps.Registerer,
	})
	if err != nil {
		return nil, err
	}
	legacy := pollhosts.Handler(pollhosts.Config{Store: s.store, FilterCache: s.config.PollHosts.FilterCache, Logger: s.deps.Logger})
	legacy = keeper.ProtectElse(s.metrics.countPollHosts(legacy), s.metrics.countPollHosts(pollhosts.Away(s.deps.Logger)))
	handler, err := s.withPage(page.Config{Store: s.store, Door: keeper, Tools: tools, Logger: s.deps.Logger}, api)
	if err != nil {
		return nil, err
	}
	// No http.ServeMux: it would answer for some paths by itself, before the Door.
	return s.stream(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(pollhosts.Paths(), r.URL.Path) {
			legacy.ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r) // it has the Door, too
	})), nil
}

// withPage puts the page before the API, if there is to be one.
func (s *Server) withPage(config page.Config, api http.Handler) (http.Handler, error) {
	if !s.config.Page.Enabled {
		return api, nil
	}
	shown, err := page.New(config)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown.Takes(r.URL.Path) {
			shown.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}), nil
}

// eventsPath is that of the stream of events.
const eventsPath = "/v1/events"

// streamTime is how long a stream of events goes on. Its reader comes back then, and is looked at again: that is how long whoever lost his token still hears of changes.
const streamTime = 15 * time.Minute

// stream lets a stream of events go on for longer than other requests, but not for ever.
func (s *Server) stream(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != eventsPath {
			next.ServeHTTP(w, r)
			return
		}
		end := time.Now().Add(streamTime)
		ctx, cancel := context.WithDeadline(r.Context(), end)
		defer cancel()
		connection := http.NewResponseController(w)
		late := end.Add(s.config.Listen.RequestTimeout)
		if err := errors.Join(connection.SetReadDeadline(late), connection.SetWriteDeadline(late)); err != nil {
			s.deps.Logger.Warn("a stream of events ends early", "error", err)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// listening is a listener, with TLS or without.
type listening struct {
	net.Listener
	tls *tls.Config
}

// doors returns where callers come in.
func (s *Server) doors(l Listeners) []listening {
	var doors []listening
	for _, d := range []listening{{l.TCP, s.deps.TLS}, {Listener: l.Unix}, {Listener: l.Loopback}} {
		if d.Listener == nil {
			continue
		}
		s.deps.Logger.Info("listening", "address", d.Addr().String(), "tls", d.tls != nil)
		d.Listener = newDoor(d.Listener, s.config.Listen, s.metrics.turnedAway)
		doors = append(doors, d)
	}
	return doors
}

// newHTTP returns a server whose requests have that context. It speaks HTTP/1.1 only, so that the bound on connections is one on requests, too.
func (s *Server) newHTTP(calls context.Context) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	timeout := s.config.Listen.RequestTimeout
	return &http.Server{
		Handler: s.handler, Protocols: &protocols, BaseContext: func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: min(timeout, 10*time.Second), ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: s.config.Listen.IdleTimeout,
		MaxHeaderBytes:               32 << 10,
		DisableGeneralOptionsHandler: true,                                                        // OPTIONS * is answered behind the Door, too
		ErrorLog:                     slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelDebug), // handshakes that scanners begin
	}
}

// serve serves a door until the server is shut down.
func serve(server *http.Server, door listening) error {
	var err error
	if door.tls != nil {
		server.TLSConfig = door.tls
		err = server.ServeTLS(door.Listener, "", "")
	} else {
		err = server.Serve(door.Listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", door.Addr(), err)
	}
	return nil
}
