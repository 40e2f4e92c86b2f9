package verifier

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

const maxRefuseSize = 16 << 20

// ParseRefuseList reads a list of AKs that are trusted no more: the Name of one on each line, in hexadecimal digits; # begins a remark. Taking an AK out of its TPM does not destroy it
// (whoever works at that TPM can derive it again), so a verifier that has to be rid of an AK refuses its Name.
func ParseRefuseList(raw []byte) ([]Hex, error) {
	if len(raw) > maxRefuseSize {
		return nil, fmt.Errorf("reading the refuse list: %d bytes, more than %d", len(raw), maxRefuseSize)
	}
	var (
		names    []Hex
		problems []error
	)
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		name, err := parseName(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		names = append(names, name)
	}
	if err := errors.Join(append(problems, lines.Err())...); err != nil {
		return nil, fmt.Errorf("reading the refuse list: %w", err)
	}
	return names, nil
}

// parseName reads the hexadecimal digits of a Name that a key which is taken can have (Part 1, 16): one of another algorithm or length would match nothing, without anybody noticing.
func parseName(text string) ([]byte, error) {
	name, err := hex.DecodeString(text)
	if err != nil || len(name) < 2 {
		return nil, errors.New("is no Name, write its 2 bytes of algorithm and its digest in hexadecimal digits")
	}
	alg := eventlog.Alg(binary.BigEndian.Uint16(name))
	if trustworthy(alg) != nil || len(name) != 2+alg.Size() {
		return nil, errors.New("is no Name: 000b and 32 bytes more, 000c and 48, or 000d and 64, in hexadecimal digits")
	}
	return name, nil
}

// checkNotRefused fails for an AK on the list, and for one whose Name is not known if there is a list.
func checkNotRefused(refused []Hex, name []byte) error {
	if len(refused) > 0 && len(name) == 0 {
		return errors.New("only the AK's key is known, not its Name: whether it is on the refuse list can't be told")
	}
	if contains(refused, name) {
		return fmt.Errorf("the AK %x is on the refuse list", name)
	}
	return nil
}
