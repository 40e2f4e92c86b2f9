package manual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Check reports the commands that have no page in dir, and the flags that are not in their command's page.
func Check(dir string, section int, command *cobra.Command) error {
	name := strings.ReplaceAll(command.CommandPath(), " ", "-")

	page, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.%d", name, section)))
	if err != nil {
		return err
	}

	text := strings.ReplaceAll(string(page), `\-`, "-")

	var problems []error

	command.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && !strings.Contains(text, "--"+f.Name) {
			problems = append(problems, fmt.Errorf("%s.%d does not have --%s", name, section, f.Name))
		}
	})

	for _, sub := range command.Commands() {
		if sub.IsAvailableCommand() {
			problems = append(problems, Check(dir, section, sub))
		}
	}

	return errors.Join(problems...)
}
