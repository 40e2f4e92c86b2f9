package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/trustpool/trustpool/tpmsim"
)

// controlFile is the unix socket by which nodes are rebooted. The folder is its owner's alone.
const controlFile = "control.sock"

// controlPath names the socket of a folder.
func controlPath(dir string) (string, error) {
	const most = 107 // unix(7): 108 bytes with the zero at the end

	path := filepath.Join(dir, controlFile)
	if len(path) > most {
		return "", fmt.Errorf("the name of the folder %s is too long for a unix socket in it, take a shorter one", dir)
	}

	return path, nil
}

// listenControl takes the folder: one simulator at a time has it.
func listenControl(dir string) (net.Listener, error) {
	path, err := controlPath(dir)
	if err != nil {
		return nil, err
	}

	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("a trustpool-sim runs on the folder %s: end it, or name another folder", dir), conn.Close())
	}

	_ = os.Remove(path) // left over by one that was killed

	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for commands: %w", err)
	}

	return listener, nil
}

// serveControl carries out commands until ctx ends.
func (f *fleet) serveControl(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes", f.list)
	mux.HandleFunc("POST /nodes/{node}/reboot", f.change(func(n *node, r *http.Request) error {
		scenario, err := tpmsim.ParseScenario(r.URL.Query().Get("scenario"))
		if err != nil {
			return err
		}

		return n.reboot(ctx, scenario) // also if the caller does not wait for its end
	}))
	mux.HandleFunc("POST /nodes/{node}/off", f.change(func(n *node, _ *http.Request) error { return n.off() }))

	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}

	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- server.Shutdown(context.WithoutCancel(ctx)) }) // reboots under way end with ctx

	err := server.Serve(listener)
	if !errors.Is(err, http.ErrServerClosed) {
		stop()

		return fmt.Errorf("serving commands: %w", err)
	}

	return <-ended
}

// list tells of all nodes.
func (f *fleet) list(w http.ResponseWriter, _ *http.Request) {
	all := make([]nodeState, 0, len(f.nodes))
	for _, n := range f.nodes {
		all = append(all, n.state())
	}

	answer(w, all)
}

// change carries out something with one node, and tells how it is then.
func (f *fleet) change(do func(*node, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := f.node(r.PathValue("node"))
		if n == nil {
			http.Error(w, fmt.Sprintf("no node is called %.64q, see trustpool-sim list", r.PathValue("node")), http.StatusNotFound)

			return
		}

		if err := do(n, r); err != nil {
			http.Error(w, fmt.Sprintf("%s: %v", n.short, err), http.StatusConflict)

			return
		}

		answer(w, n.state())
	}
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // who hung up wants no answer
}
