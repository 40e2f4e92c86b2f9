package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// decodeValue reads one value as map[string]any, []any, string, json.Number, bool or nil, and reports keys that stand twice.
func decodeValue(dec *json.Decoder, p *problems, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}

	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return decodeObject(dec, p, path, depth)
	case json.Delim('['):
		return decodeList(dec, p, path, depth)
	default:
		return token, nil
	}
}

func decodeObject(dec *json.Decoder, p *problems, path string, depth int) (map[string]any, error) {
	members := make(map[string]any)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if !ok {
			return nil, errors.New("a key is no text")
		}
		value, err := decodeValue(dec, p, join(path, quoteKey(key)), depth+1)
		if err != nil {
			return nil, err
		}
		if _, twice := members[key]; twice {
			p.add(join(path, quoteKey(key)), "stands twice, keep one")
		}
		members[key] = value
	}
	_, err := dec.Token()
	return members, err
}

func decodeList(dec *json.Decoder, p *problems, path string, depth int) ([]any, error) {
	list := []any{}
	for dec.More() {
		value, err := decodeValue(dec, p, index(path, len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := dec.Token()
	return list, err
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// quoteKey makes a key of unknown origin safe to print; ordinary ones stay as they are.
func quoteKey(key string) string {
	quoted := strconv.Quote(key)
	if quoted == `"`+key+`"` && len(key) <= 64 {
		return key
	}
	return quoted[:min(len(quoted), 70)]
}
