package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfig bounds a config file, in bytes.
const maxConfig = 1 << 20

// Config is what a daemon reads its file into.
type Config interface {
	// Validate reports all problems at once, each on a line of its own as `path.to.key: what is wrong, what to write`.
	Validate() error
}

// LoadConfig reads a YAML file strictly over the defaults that config holds already, and validates the whole. Keys that are unknown or twice there are errors with
// their line. Every error is a UsageError that names the file.
func LoadConfig(path string, config Config) error {
	content, err := readBounded(path)
	if err != nil {
		return UsageError{fmt.Errorf("reading the config: %w", err)}
	}

	if err := decode(content, config); err != nil {
		return UsageError{fmt.Errorf("%s is not a valid config:\n%s", path, indent(err))}
	}

	if err := config.Validate(); err != nil {
		return UsageError{fmt.Errorf("%s is not a valid config:\n%s", path, indent(err))}
	}

	return nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	content, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return nil, err
	}

	if len(content) > maxConfig {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxConfig)
	}

	return content, nil
}

func decode(content []byte, config Config) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)

	err := decoder.Decode(config)
	if errors.Is(err, io.EOF) { // an empty file: all defaults
		return nil
	}

	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		return errors.New(plainWords(wrong.Errors))
	}

	if err != nil {
		return err
	}

	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document: write one")
	}

	return nil
}

// plainWords turns the YAML library's talk of Go types into an operator's words, each problem on a line of its own.
func plainWords(problems []string) string {
	unknown := regexp.MustCompile(`field (\S+) not found in type \S+`)
	unfit := regexp.MustCompile("cannot unmarshal !!(\\S+)(?: (`.*`))? into (.+)$")

	lines := make([]string, len(problems))
	for i, problem := range problems {
		line := strings.Join(strings.Fields(problem), " ") // a value that is quoted in it may have several
		line = unknown.ReplaceAllString(line, `unknown key "$1"`)
		if at := unfit.FindStringSubmatchIndex(line); at != nil {
			part := unfit.FindStringSubmatch(line)
			line = line[:at[0]] + unfitWords(part[1], part[2], part[3])
		}
		lines[i] = line
	}

	return strings.Join(lines, "\n")
}

// unfitWords says that a value, quoted unless it is a list or has keys, does not fit a Go type. Of a type with a name nobody knows what it is, but that a single value fits all but those with keys.
func unfitWords(tag, value, goType string) string {
	switch tag {
	case "seq":
		value = "a list"
	case "map":
		value = "keys with values"
	}

	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list belongs here, not " + value
	case tag == "seq":
		return "no list belongs here"
	case tag == "map":
		return "a text or a number belongs here, not " + value
	case goType == "time.Duration":
		return value + " is no time; write one with its unit, e.g. 30s"
	case goType == "bool":
		return value + " is neither true nor false"
	case strings.HasPrefix(goType, "float"):
		return value + " is no number"
	case strings.HasPrefix(strings.TrimPrefix(goType, "u"), "int"):
		return value + " is no whole number that can be here"
	default:
		return "keys with values belong here, not " + value
	}
}

func indent(err error) string {
	return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ")
}
