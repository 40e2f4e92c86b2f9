package access

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Role is what a caller may do. Each includes those before it. The zero value may do nothing.
type Role uint8

const (
	// Nobody may do nothing.
	Nobody Role = iota
	// Reader may ask for verdicts, and see nodes, pools, sets, alarms and history: for schedulers and dashboards.
	Reader
	// Operator may also do what can't make a host trusted: have nodes asked at once, hold them, refuse AKs, write drafts, set labels, see evidence.
	Operator
	// Admin may also do what can: nodes and their enrolment, pools, approving sets. And see the admin log.
	Admin
)

// Roles returns those that can be given.
func Roles() []Role { return []Role{Reader, Operator, Admin} }

// String gives the role's name.
func (r Role) String() string {
	switch r {
	case Reader:
		return "reader"
	case Operator:
		return "operator"
	case Admin:
		return "admin"
	default:
		return "nobody"
	}
}

// ParseRole is the opposite of String. Nobody can't be given.
func ParseRole(text string) (Role, error) {
	var names []string
	for _, r := range Roles() {
		if r.String() == text {
			return r, nil
		}
		names = append(names, r.String())
	}
	return Nobody, fmt.Errorf("%.32q is no role, write one of %s", text, strings.Join(names, ", "))
}

// UnmarshalText reads a role.
func (r *Role) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRole(string(text))
	return err
}

// UnmarshalYAML reads a role, as configurations have it. The error names the line.
func (r *Role) UnmarshalYAML(node *yaml.Node) error {
	if err := r.UnmarshalText([]byte(node.Value)); err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %v", node.Line, err)}}
	}
	return nil
}

// MarshalText gives the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
