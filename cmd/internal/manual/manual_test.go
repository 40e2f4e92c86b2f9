package manual_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/manual"
)

func command() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Short: "Do things", Run: run}
	sub := &cobra.Command{Use: "do-this", Short: "Do this", Run: run}
	sub.Flags().Bool("twice", false, "do it twice")
	root.AddCommand(sub)

	return root
}

func TestEachCommandGetsAPageAndEachShellItsCompletions(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	if err := manual.Write(dir, 8, command()); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"tool.8", "tool-do-this.8", "completions/tool", "completions/_tool", "completions/tool.fish"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}

	if err := manual.Check(dir, 8, command()); err != nil {
		t.Error(err)
	}
}

func TestAMissingPageAndAMissingFlagAreReported(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	if err := manual.Write(dir, 8, command()); err != nil {
		t.Fatal(err)
	}

	more := command()
	more.AddCommand(&cobra.Command{Use: "new", Short: "New", Run: func(*cobra.Command, []string) {}})
	more.Flags().Bool("loud", false, "be loud")

	err := manual.Check(dir, 8, more)
	if err == nil || !strings.Contains(err.Error(), "tool-new.8") || !strings.Contains(err.Error(), "tool.8 does not have --loud") {
		t.Errorf("got %v", err)
	}
}

const sample = `# Configuration of tool: /etc/tool.yaml
#
# More.

tpm:
  # The device.
  # device: /dev/tpm0

  # How many,
  # and how many more.
  # many: 1
  # more: 2

# Who may call:
#   quote  ask
clients:
  - san: ["dns:a"]
    # Calls a second.
    # rate: 100

logs:
  # Others, for example:
  # files: []
  #   - path: /x
  #   - path: /y
`

func TestASampleIsReadKeyByKey(t *testing.T) {
	t.Parallel()

	want := manual.Sample{
		Intro: []string{"Configuration of tool: /etc/tool.yaml", "", "More."},
		Keys: []manual.Key{
			{Paths: []string{"tpm"}, Defaults: []string{""}},
			{Paths: []string{"tpm.device"}, Defaults: []string{"/dev/tpm0"}, Text: []string{"The device."}},
			{Paths: []string{"tpm.many", "tpm.more"}, Defaults: []string{"1", "2"}, Text: []string{"How many,", "and how many more."}},
			{Paths: []string{"clients", "clients[].san"}, Defaults: []string{"", ""}, Text: []string{"Who may call:", "  quote  ask"}},
			{Paths: []string{"clients[].rate"}, Defaults: []string{"100"}, Text: []string{"Calls a second."}},
			{Paths: []string{"logs"}, Defaults: []string{""}},
			{Paths: []string{"logs.files", "logs.files[].path"}, Defaults: []string{"[]", ""}, Text: []string{"Others, for example:"}},
		},
	}
	if diff := cmp.Diff(want, manual.ParseSample(sample)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAConfigPageHasEachKeyWithItsDefault(t *testing.T) {
	t.Parallel()

	page := manual.ConfigPage("/etc/tool.yaml", sample, time.Unix(86400, 0))
	for _, want := range []string{
		`.TH "TOOL.YAML" 5 "1970-01-02"`, "tool.yaml \\- configuration of tool\n", ".TP\n\\fBtpm.device\\fR (default: /dev/tpm0)\nThe device.\n",
		".TP\n\\fBtpm.many\\fR (default: 1)\n.TQ\n\\fBtpm.more\\fR (default: 2)\nHow many,\n", ".nf\n  quote  ask\n.fi\n", "\\fBclients[].rate\\fR (default: 100)\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}
