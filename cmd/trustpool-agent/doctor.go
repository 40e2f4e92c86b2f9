package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/trustpool/trustpool/agent"
)

func doctorCommand() *cobra.Command {
	var (
		configPath string
		asJSON     bool
	)

	command := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps this node from being trusted, and say what to do",
		Long: `doctor examines the TPM and its keys, the clock, the measured launch and its logs, the TLS files, the ports, the state folder and the running agent. Each line says ok,
warning or failed, what was found, and what to do. It changes nothing and disturbs no running agent. Run it as root, or as the agent's user, who does not see
everything.

It exits with 0 if nothing has failed, warnings or not, with 1 if something has, and with 2 for wrong flags or config.`,
		Example: `  trustpool-agent doctor
  trustpool-agent doctor --json | jq '.findings[] | select(.outcome == "failed")'`,
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, unseen, err := configOutside(configPath)
			if err != nil {
				return hintConfig(configPath, err)
			}

			boot, err := bootID()
			if err != nil {
				return err
			}

			findings := append(agent.Examine(config, boot), agent.ExamineUser(config, configPath)...)
			findings = append(findings, credentialsFound(unseen)...)
			findings = append(findings, examineFiles(config)...)

			return report(cmd.OutOrStdout(), findings, asJSON)
		},
	}
	command.Flags().StringVar(&configPath, "config", "/etc/trustpool-agent/agent.yaml", "configuration `file`")
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	return command
}

// report prints the findings, and fails if one of them is that something has failed.
func report(out io.Writer, findings []agent.Finding, asJSON bool) error {
	count := make(map[agent.Outcome]int)
	for _, finding := range findings {
		count[finding.Outcome]++
	}

	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")

		if err := encoder.Encode(map[string]any{
			"findings": findings, "failed": count[agent.OutcomeFailed], "warnings": count[agent.OutcomeWarning],
		}); err != nil {
			return err
		}
	} else {
		printFindings(out, findings)
	}

	if n := count[agent.OutcomeFailed]; n > 0 {
		return fmt.Errorf("%d of %d checks failed", n, len(findings))
	}

	return nil
}

// printFindings prints a line for each finding, and one below it for what to do.
func printFindings(out io.Writer, findings []agent.Finding) {
	colour := colours(out)

	for _, finding := range findings {
		fmt.Fprintf(out, "%s%-7s%s  %-12s %s\n", colour[finding.Outcome], finding.Outcome, colour[""], finding.Check, oneLine(finding.Detail))

		if finding.Advice != "" && finding.Outcome != agent.OutcomeOK {
			fmt.Fprintf(out, "%s> %s\n", strings.Repeat(" ", 22), oneLine(finding.Advice))
		}
	}
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

// colours returns those of the outcomes at a terminal, nothing elsewhere or where NO_COLOR is set.
func colours(out io.Writer) map[agent.Outcome]string {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("NO_COLOR") != "" { // #nosec G115 -- a file descriptor
		return nil
	}

	return map[agent.Outcome]string{agent.OutcomeOK: "\x1b[32m", agent.OutcomeWarning: "\x1b[33m", agent.OutcomeFailed: "\x1b[31m", "": "\x1b[0m"}
}

// found makes a finding.
func found(check string, outcome agent.Outcome, advice, format string, args ...any) agent.Finding {
	return agent.Finding{Check: check, Outcome: outcome, Detail: fmt.Sprintf(format, args...), Advice: advice}
}

// configOutside reads the config as loadConfig does. Where it names credentials that systemd gives to the unit and not to this process, they stay as they are, and their names are told.
func configOutside(path string) (config agent.Config, unseen []string, err error) {
	if config, err = readConfig(path); err != nil {
		return agent.Config{}, nil, err
	}

	for _, file := range []string{
		config.TPM.OwnerAuthFile, config.TPM.EndorsementAuthFile, config.TLS.Certificate, config.TLS.Key, config.TLS.ClientCA, config.TLS.CRL,
	} {
		if isUnseen(file) {
			unseen = append(unseen, file)
		}
	}

	if len(unseen) > 0 {
		return config, unseen, nil
	}

	config, err = loadConfig(path)

	return config, nil, err
}

// isUnseen says whether a path of the config is a credential that this process was not given.
func isUnseen(path string) bool {
	return strings.HasPrefix(path, "credential:") && os.Getenv("CREDENTIALS_DIRECTORY") == ""
}

// credentialsFound tells of those that can't be looked at.
func credentialsFound(unseen []string) []agent.Finding {
	var findings []agent.Finding
	for _, name := range unseen {
		findings = append(findings, found("credentials", agent.OutcomeWarning,
			"while the agent runs, as root: CREDENTIALS_DIRECTORY=/run/credentials/trustpool-agent.service trustpool-agent doctor",
			"%s is given to the unit by systemd (LoadCredential=), and was not looked at", name))
	}

	return findings
}

// examineFiles tells what is wrong with the files that the config names.
func examineFiles(config agent.Config) []agent.Finding {
	var findings []agent.Finding

	seen := config
	for _, file := range []*string{&seen.TPM.OwnerAuthFile, &seen.TPM.EndorsementAuthFile} {
		if isUnseen(*file) {
			*file = ""
		}
	}

	var joined interface{ Unwrap() []error }
	if errors.As(seen.CheckFiles(), &joined) {
		for _, problem := range joined.Unwrap() {
			// The state folder is told of at length elsewhere.
			if !strings.HasPrefix(problem.Error(), "state_dir: ") {
				findings = append(findings, found("files", agent.OutcomeFailed, "", "%v", problem))
			}
		}
	}

	if config.Listen.Address == "" {
		return findings
	}

	return append(findings, examineTLS(config)...)
}
