package trust

import (
	"errors"
	"fmt"
	"strings"
)

// maxName bounds a name of a node: that of a host in the DNS, as text (RFC 1035, 2.3.4).
const maxName = 253

// nameLetters are those of host names, UUIDs and addresses. Names that differ in case only are the same, so there is one case.
const nameLetters = "abcdefghijklmnopqrstuvwxyz0123456789.-_:"

// ParseName reads a name by which a node is known, its own or an alias: the letters of host names, UUIDs and addresses, at most 253. Capital letters become small ones.
func ParseName(text string) (string, error) {
	name := FoldName(text)
	if name == "" || len(name) > maxName || strings.Trim(name, nameLetters) != "" || strings.Trim(name, "-.") != name {
		return "", fmt.Errorf("%.64q is no name of a node, write its host name", text)
	}
	return name, nil
}

// FoldName returns the form in which a name is looked up. It fits no node if the text is no name.
func FoldName(text string) string {
	// Of ASCII only: the Kelvin sign has the small letter k, and nobody's host is called by it.
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// maxWord bounds the names of pools, sets, labels and tokens.
const maxWord = 128

// ParseWord reads the name of a thing that an administrator makes: a pool, a set, a label, a token.
func ParseWord(text string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+"
	if text == "" || len(text) > maxWord || strings.Trim(text, letters) != "" || strings.Trim(text[:1], ".-+") == "" {
		return "", fmt.Errorf("%.64q is no name, write letters, digits and . - _ +, at most %d", text, maxWord)
	}
	return text, nil
}

// maxText bounds what people write for people.
const maxText = 1024

func checkText(what, text string) error {
	if len(text) > maxText {
		return fmt.Errorf("%s: has %d bytes, write at most %d", what, len(text), maxText)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New(what + ": has control characters, leave them out")
	}
	return nil
}
