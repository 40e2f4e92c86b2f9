package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// strictJSON reads what means one thing only. Unknown keys are found by the schema.
func strictJSON() huma.Format {
	return huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
}

// unmarshal is json.Unmarshal, but a key that is there twice, also in other letters, is an error, and so is text that is not UTF-8. huma reads each body into an any first.
func unmarshal(raw []byte, into any) error {
	if _, first := into.(*any); first {
		if err := checkUnambiguous(raw); err != nil {
			return err
		}
	}
	return json.Unmarshal(raw, into)
}

// fold gives keys that json.Unmarshal takes for the same the same letters: also k and \u212A, s and \u017F, which strings.ToLower tells apart.
func fold(key string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, key)
}

// maxDepth bounds how deep values are nested.
const maxDepth = 64

func checkUnambiguous(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("the body is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	var open []map[string]bool // of each object the keys so far; nil for a list
	key := false               // is a key expected
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil // a body that ends early is json.Unmarshal's to find
		}
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{':
				open = append(open, make(map[string]bool))
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
		case string:
			if key {
				folded := fold(t)
				if open[len(open)-1][folded] {
					return fmt.Errorf("the key %.64q is there twice, write it once", t)
				}
				open[len(open)-1][folded] = true
				key = false
				continue
			}
		}
		if len(open) > maxDepth {
			return fmt.Errorf("the body has more than %d levels", maxDepth)
		}
		key = len(open) > 0 && open[len(open)-1] != nil
	}
}
