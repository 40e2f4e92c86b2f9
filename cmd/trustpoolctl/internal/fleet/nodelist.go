package fleet

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// nodeList are the nodes of a file. The server judges them; it counts entries, people count lines.
type nodeList struct {
	// lines are where the entries begin, counted from 1.
	lines []int
	// nodes are those of a JSON file; csv is the file, if it is CSV.
	nodes []api.NodeSpec
	csv   []byte
}

// parseCSV finds the entries of a CSV file (RFC 4180). What is in them the server reads.
func parseCSV(raw []byte) (*nodeList, error) {
	list := &nodeList{csv: raw}
	reader := csv.NewReader(bytes.NewReader(raw))
	reader.Comment = '#'
	for first := true; ; first = false {
		_, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err // which names the line
		}
		if line, _ := reader.FieldPos(0); !first {
			list.lines = append(list.lines, line)
		}
	}
}

// parseJSON reads a list of nodes, or an object that has one.
func parseJSON(raw []byte) (*nodeList, error) {
	list := &nodeList{nodes: []api.NodeSpec{}}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := openList(decoder); err != nil {
		return nil, lineError(raw, decoder, err)
	}
	for decoder.More() {
		begin := int(decoder.InputOffset())
		begin += len(raw[begin:]) - len(bytes.TrimLeft(raw[begin:], ", \t\r\n"))
		var spec api.NodeSpec
		if err := decoder.Decode(&spec); err != nil {
			return nil, fmt.Errorf("line %d: entry %d: %w", lineAt(raw, begin), len(list.nodes)+1, err)
		}
		list.nodes = append(list.nodes, spec)
		list.lines = append(list.lines, lineAt(raw, begin))
	}
	for _, token := range []json.Delim{']', '}'} {
		if got, err := decoder.Token(); errors.Is(err, io.EOF) && token == '}' {
			break
		} else if err != nil || got != token {
			return nil, lineError(raw, decoder, errors.Join(errors.New("the list of nodes does not end as it began"), err))
		}
	}
	return list, nil
}

// openList reads up to the first node: [ or {"nodes": [.
func openList(decoder *json.Decoder) error {
	for _, want := range []json.Token{json.Delim('{'), "nodes", json.Delim('[')} {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		if token == json.Delim('[') {
			return nil
		}
		if token != want {
			return errors.New(`this is no list of nodes: write [{"name": ..., "address": ..., "pool": ...}, ...]`)
		}
	}
	return nil
}

// lineError says in which line an error is.
func lineError(raw []byte, decoder *json.Decoder, err error) error {
	return fmt.Errorf("line %d: %w", lineAt(raw, int(decoder.InputOffset())), err)
}

func lineAt(raw []byte, offset int) int { return 1 + bytes.Count(raw[:offset], []byte("\n")) }

// explain turns the server's count of entries into lines, one for each problem.
func (l *nodeList) explain(path string, err error) error {
	problem, ok := errors.AsType[*api.Problem](err)
	if !ok || len(problem.Errors) == 0 {
		return err
	}
	mended := *problem
	mended.Errors = nil
	var text strings.Builder
	fmt.Fprintf(&text, "no node of %s was added:", path)
	for _, e := range problem.Errors {
		e.Location, e.Message = l.atLine(e.Location), l.atLine(e.Message)
		mended.Errors = append(mended.Errors, e)
		for i, part := range strings.Split(strings.TrimPrefix(e.Message, "reading the list of nodes: "), "; line ") {
			if i > 0 {
				part = "line " + part
			} else if e.Location != "body" && e.Location != "" {
				part = e.Location + ": " + part
			}
			text.WriteString("\n" + part)
		}
	}
	return console.WithHint(listError{text.String(), &mended}, "Mend these lines and import the file again: all of its nodes are added, or none.")
}

// listError tells a problem by lines.
type listError struct {
	text    string
	problem *api.Problem
}

func (e listError) Error() string { return e.text }
func (e listError) Unwrap() error { return e.problem }

// entryNumber is how the server names an entry: of a CSV file in words, of JSON by its place.
func entryNumber() *regexp.Regexp { return regexp.MustCompile(`body\.nodes\[(\d+)\]\.?|entry (\d+) `) }

// atLine replaces what names an entry by its line.
func (l *nodeList) atLine(text string) string {
	pattern := entryNumber()
	return pattern.ReplaceAllStringFunc(text, func(found string) string {
		match := pattern.FindStringSubmatch(found)
		index, err := strconv.Atoi(match[1] + match[2])
		if match[2] != "" {
			index-- // words count from 1
		}
		if err != nil || index < 0 || index >= len(l.lines) {
			return found
		}
		return fmt.Sprintf("line %d ", l.lines[index])
	})
}
