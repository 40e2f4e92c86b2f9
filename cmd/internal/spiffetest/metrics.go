package spiffetest

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/internal/spiffe"
)

// Metrics are those of a daemon that follows a Workload API: their names, which begin with the prefix, with their types.
func Metrics(t testing.TB, prefix string) map[string]string {
	t.Helper()

	registry := prometheus.NewPedanticRegistry()
	daemon.NewSPIFFE(spiffe.Config{}, slog.New(slog.DiscardHandler)).Register(registry, prefix)

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}

	types := map[string]string{}
	for _, family := range families {
		types[family.GetName()] = strings.ToLower(family.GetType().String())
	}

	return types
}
