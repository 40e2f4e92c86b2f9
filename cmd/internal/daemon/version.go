package daemon

import (
	"runtime/debug"
	"strings"
)

// version is set by the linker: -X github.com/trustpool/trustpool/cmd/internal/daemon.version=v1.2.3.
var version string

// Version returns the program's version: what the linker was told, else what the Go toolchain recorded, else "devel".
func Version() string {
	if version != "" {
		return version
	}

	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}

	return "devel"
}

// Build returns the version and what it was built from, as far as the Go toolchain recorded it: "1.2.0 (commit 8eab0148f2c1, 2026-11-23T14:31:02Z, go1.26.8)". The time is the commit's.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version()
	}

	return Version() + " (" + describeBuild(info) + ")"
}

// describeBuild names the commit, its time and the toolchain.
func describeBuild(info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}

	var parts []string

	if revision := settings["vcs.revision"]; revision != "" {
		commit := "commit " + revision[:min(len(revision), 12)]
		if settings["vcs.modified"] == "true" {
			commit += " with changes"
		}

		parts = append(parts, commit)
	}

	if at := settings["vcs.time"]; at != "" {
		parts = append(parts, at)
	}

	return strings.Join(append(parts, info.GoVersion), ", ")
}
