// Package manual writes the man pages and shell completions of the commands, from the texts that --help shows, and the page of a config file, from the commented
// sample that operators start with. Only tests import it: packages are built by a test that writes the files, so that the commands themselves carry none of it.
package manual

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Write leaves in dir, which it makes, a page NAME.SECTION for the command and NAME-SUBCOMMAND.SECTION for each of its subcommands, and under completions/ what
// makes bash (NAME), zsh (_NAME) and fish (NAME.fish) complete command lines. The pages have the date of SOURCE_DATE_EPOCH, or today's.
func Write(dir string, section int, root *cobra.Command) error {
	completions := filepath.Join(dir, "completions")
	if err := os.MkdirAll(completions, 0o750); err != nil {
		return err
	}

	root.DisableAutoGenTag = true // it is dated in words

	header := &doc.GenManHeader{Section: fmt.Sprint(section), Source: "trustpool", Manual: "trustpool manual"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("writing man pages: %w", err)
	}

	name := root.Name()

	if err := root.GenBashCompletionFileV2(filepath.Join(completions, name), true); err != nil {
		return fmt.Errorf("writing completions for bash: %w", err)
	}

	if err := root.GenZshCompletionFile(filepath.Join(completions, "_"+name)); err != nil {
		return fmt.Errorf("writing completions for zsh: %w", err)
	}

	if err := root.GenFishCompletionFile(filepath.Join(completions, name+".fish"), true); err != nil {
		return fmt.Errorf("writing completions for fish: %w", err)
	}

	return nil
}
