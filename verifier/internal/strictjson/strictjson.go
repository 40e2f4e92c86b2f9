// Package strictjson reads JSON files in which nothing may be guessed: a key that nobody asked for, a key that stands twice, another case of a known key, a
// wrong type or bytes after the end are problems, and all problems of a file are told at once, each as "path.to.key: what is wrong, what to write".
// (encoding/json by itself takes the last of two equal keys and ignores the case of keys.)
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	maxDepth    = 8
	maxProblems = 50
)

// Object is one JSON object. Its methods read a key each and remember that it was read; what they can't read they report and return as a zero value.
type Object struct {
	path     string
	members  map[string]any
	read     map[string]bool
	problems *problems
}

type problems struct {
	list    []error
	omitted int
}

func (p *problems) add(path, format string, args ...any) {
	if len(p.list) == maxProblems {
		p.omitted++
		return
	}
	if path == "" {
		path = "(top)"
	}
	p.list = append(p.list, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

// Decode reads raw, at most maxSize bytes, as one JSON object. The error is about bytes that are no such object; problems inside it are for Err.
func Decode(raw []byte, maxSize int) (*Object, error) {
	if len(raw) > maxSize {
		return nil, fmt.Errorf("has %d bytes, more than %d", len(raw), maxSize)
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("is not UTF-8 text")
	}

	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	p := &problems{}
	value, err := decodeValue(dec, p, "", 0)
	if err != nil {
		return nil, fmt.Errorf("reading JSON at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("has something after the end of the JSON object, at byte %d", dec.InputOffset())
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("is not a JSON object: begin with {")
	}
	return newObject("", members, p), nil
}

func newObject(path string, members map[string]any, p *problems) *Object {
	return &Object{path: path, members: members, read: make(map[string]bool, len(members)), problems: p}
}

// Err returns all problems found so far, joined, or nil.
func (o *Object) Err() error {
	list := o.problems.list
	if o.problems.omitted > 0 {
		list = append(slices.Clip(list), fmt.Errorf("and %d problems more", o.problems.omitted))
	}
	return errors.Join(list...)
}

// Problem reports what is wrong with a key.
func (o *Object) Problem(key, format string, args ...any) {
	o.problems.add(join(o.path, key), format, args...)
}

// Done reports every key that was not read.
func (o *Object) Done() {
	for _, key := range slices.Sorted(maps.Keys(o.members)) {
		if !o.read[key] {
			o.problems.add(join(o.path, quoteKey(key)), "unknown key, remove it")
		}
	}
}

// Has tells whether the key is there.
func (o *Object) Has(key string) bool {
	_, ok := o.members[key]
	return ok
}

// IsText tells whether the key is there and holds a text.
func (o *Object) IsText(key string) bool {
	_, ok := o.members[key].(string)
	return ok
}

// String reads a text that must be there and not be empty.
func (o *Object) String(key string) string {
	s := o.OptionalString(key)
	if s == "" && !o.Has(key) {
		o.Problem(key, "missing, write a text")
	} else if _, isText := o.members[key].(string); s == "" && isText {
		o.Problem(key, "is empty, write a text")
	}
	return s
}

// OptionalString reads a text; "" if it is not there.
func (o *Object) OptionalString(key string) string {
	value, ok := o.take(key)
	if !ok {
		return ""
	}
	s, ok := value.(string)
	if !ok {
		o.Problem(key, "is no text, write it in quotation marks")
	}
	return s
}

// Int reads a whole number from 0 to most that must be there.
func (o *Object) Int(key string, most int) int {
	value, ok := o.take(key)
	if !ok {
		o.Problem(key, "missing, write a number from 0 to %d", most)
		return 0
	}
	number, _ := value.(json.Number)
	n, err := strconv.Atoi(number.String())
	if err != nil || n < 0 || n > most {
		o.Problem(key, "is not a number from 0 to %d", most)
		return 0
	}
	return n
}

// Strings reads a list of texts; nil if it is not there.
func (o *Object) Strings(key string) []string {
	list := o.list(key)
	texts := make([]string, 0, len(list))
	for i, value := range list {
		s, ok := value.(string)
		if !ok {
			o.Problem(index(key, i), "is no text, write it in quotation marks")
		}
		texts = append(texts, s)
	}
	return texts
}

// Ints reads a list of whole numbers from 0 to most; nil if it is not there.
func (o *Object) Ints(key string, most int) []int {
	list := o.list(key)
	numbers := make([]int, 0, len(list))
	for i, value := range list {
		number, _ := value.(json.Number)
		n, err := strconv.Atoi(number.String())
		if err != nil || n < 0 || n > most {
			o.Problem(index(key, i), "is not a number from 0 to %d", most)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// Object reads an object that must be there; nil if it is not.
func (o *Object) Object(key string) *Object {
	value, ok := o.take(key)
	members, isObject := value.(map[string]any)
	if !ok || !isObject {
		o.Problem(key, "is no object, write {...}")
		return nil
	}
	return newObject(join(o.path, key), members, o.problems)
}

// OptionalBool reads true or false; false if it is not there.
func (o *Object) OptionalBool(key string) bool {
	value, ok := o.take(key)
	b, isBool := value.(bool)
	if ok && !isBool {
		o.Problem(key, "is neither true nor false")
	}
	return b
}

// Objects reads a list of objects; nil if it is not there.
func (o *Object) Objects(key string) []*Object {
	list := o.list(key)
	objects := make([]*Object, 0, len(list))
	for i, value := range list {
		members, ok := value.(map[string]any)
		if !ok {
			o.Problem(index(key, i), "is no object, write {...}")
			continue
		}
		objects = append(objects, newObject(join(o.path, index(key, i)), members, o.problems))
	}
	return objects
}

// Texts reads an object whose keys are free and whose values are texts; nil if it is not there.
func (o *Object) Texts(key string) map[string]string {
	value, ok := o.take(key)
	if !ok {
		return nil
	}
	members, ok := value.(map[string]any)
	if !ok {
		o.Problem(key, "is no object, write {...}")
		return nil
	}

	texts := make(map[string]string, len(members))
	for k, v := range members {
		s, ok := v.(string)
		if !ok {
			o.Problem(key+"."+quoteKey(k), "is no text, write it in quotation marks")
		}
		texts[k] = s
	}
	return texts
}

func (o *Object) list(key string) []any {
	value, ok := o.take(key)
	if !ok {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		o.Problem(key, "is no list, write [...]")
	}
	return list
}

func (o *Object) take(key string) (any, bool) {
	value, ok := o.members[key]
	o.read[key] = true
	return value, ok
}
