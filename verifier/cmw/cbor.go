package cmw

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// cbor writes a cbor-collection (RFC 9999, 3.3), in CBOR's deterministic encoding (RFC 8949, 4.2.1).
func (c *collection) cbor() ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	all := map[string]any{typeKey: c.typ}
	for _, m := range c.members {
		all[m.label] = []any{m.typ, m.value, m.ind}
	}
	return mode.Marshal(all)
}

// strictCBOR refuses what can be read in more than one way.
func strictCBOR() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
		MaxNestedLevels:  4,
		MaxMapPairs:      maxMembers + 1,
		MaxArrayElements: 16, // the least that can be set
	}.DecMode()
}

// parseCBOR reads a cbor-collection of records whose labels are text.
func parseCBOR(data []byte) (collection, error) {
	mode, err := strictCBOR()
	if err != nil {
		return collection{}, err
	}
	var all map[string]cbor.RawMessage
	if err := mode.Unmarshal(data, &all); err != nil {
		return collection{}, err
	}

	var c collection
	for _, label := range slices.Sorted(maps.Keys(all)) {
		if label == typeKey {
			err = mode.Unmarshal(all[label], &c.typ)
		} else {
			m := member{label: label}
			if err = m.parse(mode, all[label]); err == nil {
				err = c.add(m)
			}
		}
		if err != nil {
			return collection{}, fmt.Errorf("%.64q: %w", label, err)
		}
	}
	return c, nil
}

// parse reads a cbor-record (RFC 9999, 3.1).
func (m *member) parse(mode cbor.DecMode, data []byte) error {
	var fields []cbor.RawMessage
	if err := mode.Unmarshal(data, &fields); err != nil {
		return err
	}
	if len(fields) != 2 && len(fields) != 3 {
		return fmt.Errorf("it has %d fields, and a record two or three", len(fields))
	}
	if err := mode.Unmarshal(fields[0], &m.typ); err != nil {
		return fmt.Errorf("its type: %w", err)
	}
	// A byte string (RFC 8949, 3.1: major type 2), and not an array of numbers, which would be decoded too.
	if len(fields[1]) == 0 || fields[1][0]>>5 != 2 {
		return errors.New("its value is no byte string")
	}
	if err := mode.Unmarshal(fields[1], &m.value); err != nil {
		return fmt.Errorf("its value: %w", err)
	}
	if len(fields) == 2 {
		return nil
	}
	var ind uint32
	if err := mode.Unmarshal(fields[2], &ind); err != nil || ind == 0 {
		return errors.New("its indicator is not a number from 1 to 4294967295")
	}
	m.ind = uint64(ind)
	return nil
}
