package rest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/trust"
)

func TestThePageInTheDocsNamesEachRouteWithItsRoleAndEachReason(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2]
	}
	table := make(map[string]string)
	for route, role := range routes() {
		table[route] = role.String()
	}
	if diff := cmp.Diff(table, documented); diff != "" {
		t.Errorf("docs/api.md: %s", diff)
	}
	for _, reason := range []trust.Reason{
		trust.OK, trust.UnknownHost, trust.NoQuote, trust.Stale, trust.Unreachable, trust.NotEnrolled, trust.OnHold, trust.PolicyChanged, trust.NoPolicy, trust.WeakBinding, trust.Simulated,
		trust.UnknownAK, trust.QuoteInvalid, trust.Replayed, trust.PCRMissing, trust.NoLaunch, trust.PCRMismatch,
	} {
		if !strings.Contains(string(page), "| `"+string(reason)+"` |") {
			t.Errorf("docs/api.md does not explain %s", reason)
		}
	}
}
