package fleet

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// nodeList are the nodes of a file. The server judges them; it counts entries, people count lines.
type nodeList struct {
	// lines are where the entries begin, counted from 1; named has them by the entry's name in small letters.
	lines []int
	named map[string]int
	// nodes are those of a JSON file; csv is the file, if it is CSV.
	nodes []api.NodeSpec
	csv   []byte
}

// parseCSV finds the entries of a CSV file (RFC 4180). What is in them the server reads.
func parseCSV(raw []byte) (*nodeList, error) {
	list := &nodeList{csv: raw, named: make(map[string]int)}
	reader := csv.NewReader(bytes.NewReader(raw))
	reader.Comment = '#'
	column := -1 // of the names
	for first := true; ; first = false {
		row, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err // which names the line
		}
		if first {
			column = slices.Index(row, "name")
			continue
		}
		line, _ := reader.FieldPos(0)
		list.lines = append(list.lines, line)
		if column >= 0 {
			list.named[strings.ToLower(strings.TrimSpace(row[column]))] = line
		}
	}
}

// parseJSON reads a list of nodes, or an object that has one.
func parseJSON(raw []byte) (*nodeList, error) {
	list := &nodeList{nodes: []api.NodeSpec{}, named: make(map[string]int)}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	ends, err := openList(decoder)
	if err != nil {
		return nil, lineError(raw, decoder, err)
	}
	line, counted := 1, 0 // the line of raw[counted]: a list is long, and each line is counted once
	for decoder.More() {
		begin := int(decoder.InputOffset())
		begin += len(raw[begin:]) - len(bytes.TrimLeft(raw[begin:], ", \t\r\n"))
		line, counted = line+linesOf(raw[counted:begin]), begin
		var spec api.NodeSpec
		if err := decoder.Decode(&spec); err != nil {
			return nil, fmt.Errorf("line %d: entry %d: %w", line, len(list.nodes)+1, err)
		}
		list.nodes = append(list.nodes, spec)
		list.lines = append(list.lines, line)
		list.named[strings.ToLower(spec.Name)] = line
	}
	for _, end := range ends {
		if got, err := decoder.Token(); err != nil || got != end {
			return nil, lineError(raw, decoder, errors.Join(errors.New("the list of nodes does not end as it began"), err))
		}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, lineError(raw, decoder, errors.New("something follows the end of the list of nodes"))
	}
	return list, nil
}

// openList reads up to the first node, [ or {"nodes": [, and returns what has to stand behind the last.
func openList(decoder *json.Decoder) (ends []json.Delim, err error) {
	for i, want := range []json.Token{json.Delim('{'), "nodes", json.Delim('[')} {
		token, err := decoder.Token()
		switch {
		case err != nil:
			return nil, err
		case token == json.Delim('[') && i == 0:
			return []json.Delim{']'}, nil
		case token != want:
			return nil, errors.New(`this is no list of nodes: write [{"name": ..., "address": ..., "pool": ...}, ...]`)
		}
	}
	return []json.Delim{']', '}'}, nil
}

// lineError says in which line an error is.
func lineError(raw []byte, decoder *json.Decoder, err error) error {
	return fmt.Errorf("line %d: %w", 1+linesOf(raw[:decoder.InputOffset()]), err)
}

// linesOf counts the lines that end in raw.
func linesOf(raw []byte) int { return bytes.Count(raw, []byte("\n")) }

// explain turns the server's count of entries into lines, one for each problem.
func (l *nodeList) explain(path string, err error) error {
	problem, ok := errors.AsType[*api.Problem](err)
	if !ok || api.StatusOf(err)/100 != 4 {
		return err
	}
	mended := *problem
	mended.Detail, mended.Errors = l.atLine(problem.Detail), nil
	var lines []string
	for _, e := range problem.Errors {
		e.Location, e.Message = l.atLine(e.Location), strings.TrimPrefix(l.atLine(e.Message), "reading the list of nodes: ")
		mended.Errors = append(mended.Errors, e)
		if where := strings.TrimSuffix(strings.TrimPrefix(e.Location, "body"), ": "); where != "" {
			lines = append(lines, where+": "+e.Message)
		} else {
			lines = append(lines, strings.ReplaceAll(e.Message, "; line ", "\nline "))
		}
	}
	if len(lines) == 0 {
		return &mended
	}
	text := fmt.Sprintf("no node of %s was added:\n%s", path, strings.Join(lines, "\n"))
	return console.WithHint(listError{text, &mended}, "Mend these lines and import the file again: all of its nodes are added, or none.")
}

// listError tells a problem by lines.
type listError struct {
	text    string
	problem *api.Problem
}

func (e listError) Error() string { return e.text }
func (e listError) Unwrap() error { return e.problem }

// entryName is how the server names an entry: by its number in words, of JSON by its place, and where the database refuses it, by its name.
func entryName() *regexp.Regexp {
	return regexp.MustCompile(`body\.nodes\[(\d+)\]\.?|entry (\d+) |adding the node (\S+): `)
}

// atLine replaces what names an entry by its line.
func (l *nodeList) atLine(text string) string {
	pattern := entryName()
	return pattern.ReplaceAllStringFunc(text, func(found string) string {
		match := pattern.FindStringSubmatch(found)
		if line, known := l.named[match[3]]; known && match[3] != "" {
			return fmt.Sprintf("line %d (%s): ", line, match[3])
		}
		index, err := strconv.Atoi(match[1] + match[2])
		if match[2] != "" {
			index-- // words count from 1
		}
		if err != nil || index < 0 || index >= len(l.lines) {
			return found
		}
		if match[1] != "" {
			return fmt.Sprintf("line %d: ", l.lines[index])
		}
		return fmt.Sprintf("line %d ", l.lines[index])
	})
}
