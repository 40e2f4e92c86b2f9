package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// JSON encodes a value, on one line if indent is empty, and ends with a line break. What could move a terminal's cursor or reorder a line is escaped, which package json does for less than that: people
// look at JSON, too, and evidence carries a node's words.
func JSON(value any, indent string) (string, error) {
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}

	var text strings.Builder
	for _, r := range raw.String() {
		if unicode.IsGraphic(r) || r == '\n' {
			text.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) { // RFC 8259, 7
			fmt.Fprintf(&text, `\u%04x`, unit)
		}
	}
	return text.String(), nil
}
