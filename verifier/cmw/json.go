package cmw

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// json writes a json-collection (RFC 9999, 3.3), a member on each line.
func (c *collection) json() ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\n  %q: %q", typeKey, c.typ)
	for _, m := range c.members {
		label, err := json.Marshal(m.label)
		if err != nil {
			return nil, err
		}
		// base64url without padding (RFC 9999, 3.1).
		record, err := json.Marshal([]any{m.typ, base64.RawURLEncoding.EncodeToString(m.value), m.ind})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, ",\n  %s: %s", label, record)
	}
	out.WriteString("\n}\n")
	return out.Bytes(), nil
}

// parseJSON reads a json-collection of records. Nothing in it may stand twice, and nothing may follow it.
func parseJSON(data []byte) (collection, error) {
	if !utf8.Valid(data) {
		return collection{}, errors.New("it is not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	c, err := takeCollection(dec)
	if err != nil {
		return collection{}, fmt.Errorf("at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return collection{}, fmt.Errorf("something follows its end, at byte %d", dec.InputOffset())
	}
	return c, nil
}

func takeCollection(dec *json.Decoder) (c collection, err error) {
	if err := takeDelim(dec, '{'); err != nil {
		return c, err
	}
	seen := make(map[string]bool)
	for dec.More() {
		label, err := takeText(dec)
		if err != nil {
			return c, err
		}
		if seen[label] {
			return c, fmt.Errorf("%.64q stands twice", label)
		}
		seen[label] = true

		if label == typeKey {
			c.typ, err = takeText(dec)
		} else {
			m := member{label: label}
			if err = m.take(dec); err == nil {
				err = c.add(m)
			}
		}
		if err != nil {
			return c, fmt.Errorf("%.64q: %w", label, err)
		}
	}
	return c, takeDelim(dec, '}')
}

// take reads a json-record (RFC 9999, 3.1).
func (m *member) take(dec *json.Decoder) (err error) {
	if err := takeDelim(dec, '['); err != nil {
		return err
	}
	if m.typ, err = takeText(dec); err != nil {
		return fmt.Errorf("its type: %w", err)
	}
	text, err := takeText(dec)
	if err != nil {
		return fmt.Errorf("its value: %w", err)
	}
	if m.value, err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil || strings.ContainsAny(text, "\r\n") {
		return errors.New("its value is not base64url without padding")
	}
	if dec.More() {
		if m.ind, err = takeIndicator(dec); err != nil {
			return fmt.Errorf("its indicator: %w", err)
		}
	}
	return takeDelim(dec, ']')
}

func takeDelim(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("there is no %s", want)
	}
	return nil
}

func takeText(dec *json.Decoder) (string, error) {
	token, err := dec.Token()
	if err != nil {
		return "", err
	}
	text, ok := token.(string)
	if !ok {
		return "", errors.New("it is no text")
	}
	return text, nil
}

// takeIndicator reads a number that is not zero: whoever says nothing leaves it out.
func takeIndicator(dec *json.Decoder) (uint64, error) {
	token, err := dec.Token()
	if err != nil {
		return 0, err
	}
	number, _ := token.(json.Number)
	n, err := strconv.ParseUint(number.String(), 10, 32)
	if err != nil || n == 0 {
		return 0, errors.New("it is not a number from 1 to 4294967295")
	}
	return n, nil
}
