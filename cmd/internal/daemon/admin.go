package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry that has what each daemon shows: the process, the Go runtime, and <name>_build_info.
func NewRegistry(name string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        name + "_build_info",
		Help:        "Always 1; the version of the program and of Go are labels.",
		ConstLabels: prometheus.Labels{"version": Version(), "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)

	return registry
}

// Admin is what a daemon shows to its operator.
type Admin struct {
	// Registry has the metrics.
	Registry *prometheus.Registry
	// Healthy says why the process should be restarted; nil if it need not be.
	Healthy func() error
	// Ready says why the daemon can't do now what it is for; nil if it can.
	Ready  func() error
	Logger *slog.Logger
}

// Serve serves /metrics, /healthz (Healthy returns nil) and /readyz (Ready does), each with the reason in its body if not, without TLS until ctx ends; on a loopback
// address /debug/pprof as well. It is for loopback or a guarded network: it tells no secrets, and it changes nothing.
func (a Admin) Serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{Registry: a.Registry}))
	mux.HandleFunc("GET /healthz", answer(a.Healthy))
	mux.HandleFunc("GET /readyz", answer(a.Ready))

	if isLoopback(listener.Addr()) {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}

	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	a.Logger.Info("serving metrics", "address", listener.Addr().String())

	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()

	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}

	return nil
}

// answer says ok, or why not.
func answer(wrong func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := wrong(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)

			return
		}

		fmt.Fprintln(w, "ok")
	}
}

func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)

	return ok && tcp.IP.IsLoopback()
}
