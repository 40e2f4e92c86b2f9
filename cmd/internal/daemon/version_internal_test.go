package daemon

import (
	"runtime/debug"
	"testing"
)

func TestABuildTellsItsCommitAndItsTime(t *testing.T) {
	t.Parallel()

	for want, settings := range map[string][]debug.BuildSetting{
		"commit 0123456789ab, 2026-11-23T14:31:02Z, go1.26.8": {
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-23T14:31:02Z"}, {Key: "vcs.modified", Value: "false"},
		},
		"commit 0123 with changes, go1.26.8": {{Key: "vcs.revision", Value: "0123"}, {Key: "vcs.modified", Value: "true"}},
		"go1.26.8":                           nil,
	} {
		if got := describeBuild(&debug.BuildInfo{GoVersion: "go1.26.8", Settings: settings}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
