package client

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

// The most bytes that are taken of a node's words.
const (
	maxHint      = 256
	maxDetail    = 2 << 10
	maxSource    = 64
	maxBindModes = 16
)

// Keys of verifier.Evidence.Hints. A log whose bytes did not come has a hint of its own: HintLog and its source, "log_txt".
const (
	HintBootID       = "boot_id"
	HintLaunchStatus = "launch_status"
	HintSimulated    = "simulated"
	HintAgentVersion = "agent_version"
	HintLog          = "log_"
)

func unsignedHints(w *agentv1.UnsignedHints) (map[string]string, error) {
	bootID, bootErr := text("boot_id", w.GetBootId(), maxHint)
	version, versionErr := text("agent_version", w.GetAgentVersion(), maxHint)
	if err := errors.Join(bootErr, versionErr); err != nil {
		return nil, err
	}

	hints := map[string]string{
		HintBootID:       bootID,
		HintLaunchStatus: enumWord(w.GetLaunchStatus().String(), "LAUNCH_STATUS_"),
		HintSimulated:    strconv.FormatBool(w.GetSimulated()),
		HintAgentVersion: version,
	}
	return hints, nil
}

// hintMissing says of each log without bytes why there are none, since a verifier can say only that there are none.
func hintMissing(hints map[string]string, references []LogReference, logs []verifier.Log) {
	for _, ref := range references {
		if slices.ContainsFunc(logs, func(l verifier.Log) bool { return l.Source == ref.Source }) {
			continue
		}
		hint := ref.StateWord()
		if ref.Size > 0 {
			hint += fmt.Sprintf(", %d bytes that were not sent", ref.Size)
		}
		if ref.Detail != "" {
			hint += ": " + ref.Detail
		}
		hints[HintLog+ref.Source] = hint
	}
}

// cleanCapabilities bounds an answer and frees its text of control characters, in place.
func cleanCapabilities(resp *agentv1.GetCapabilitiesResponse) error {
	err := errors.Join(
		atMost("pcr_banks", len(resp.GetPcrBanks()), maxBanks),
		atMost("bind_modes", len(resp.GetBindModes()), maxBindModes),
		atMost("ak_name", len(resp.GetAkName()), maxName),
		atMost("ak_public", len(resp.GetAkPublic()), maxPublic),
		atMost("log_sources", len(resp.GetLogSources()), maxLogs),
	)
	if err != nil {
		return err
	}

	for _, source := range resp.GetLogSources() {
		if !isSource(source) {
			return fmt.Errorf("%w: %q is no name of a log", ErrMalformed, shorten(source))
		}
	}
	for name, field := range map[string]*string{
		"tpm_manufacturer": &resp.TpmManufacturer,
		"tpm_vendor":       &resp.TpmVendor,
		"agent_version":    &resp.AgentVersion,
	} {
		if *field, err = text(name, *field, maxHint); err != nil {
			return err
		}
	}
	return nil
}

// text bounds a node's words and makes them printable.
func text(what, s string, bound int) (string, error) {
	if err := atMost(what, len(s), bound); err != nil {
		return "", err
	}
	return printable(s), nil
}

// printable replaces what could move a terminal's cursor, reorder a line or start a new one.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// isSource says whether s names a log. Callers name files after it, so nothing that leads out of a folder may pass.
func isSource(s string) bool {
	if s == "" || len(s) > maxSource || s[0] == '.' || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// shorten keeps an error message short where a node chose its text; the caller quotes it.
func shorten(s string) string {
	if len(s) <= maxSource {
		return s
	}
	return s[:maxSource]
}

// enumWord turns the name of a protobuf enum value into a word: "LAUNCH_STATUS_NOT_LAUNCHED" is "not_launched". A number stays one.
func enumWord(name, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}
