package spiffe

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// placeholder is where the node's name goes in the pattern of its SPIFFE ID.
const placeholder = "{name}"

// CheckNodeID says what is wrong with the pattern of nodes' SPIFFE IDs, and what to write; "" if nothing is. A pattern without the name would be the same for all nodes: each of them could
// answer for the others.
func (c Config) CheckNodeID(pattern string) string {
	const write = "write e.g. spiffe://example.org/node/" + placeholder + "/trustpool-agent"

	if n := strings.Count(pattern, placeholder); n != 1 {
		return fmt.Sprintf("%.128q has %s %d times, and has to have it once, or nodes could answer for each other; %s", pattern, placeholder, n, write)
	}

	id, err := nodeID(pattern, "name")
	if err != nil {
		return fmt.Sprintf("%.128q is no pattern of a SPIFFE ID: %v; %s", pattern, err, write)
	}

	if !c.counts(id) || strings.Contains(strings.SplitN(pattern, "/", 4)[2], placeholder) {
		return fmt.Sprintf("%.128q is not in one of the trust domains that count; write one of trust_domains", pattern)
	}

	return ""
}

// NodeID returns the SPIFFE ID that the agent of a node has to have. said is what an administrator said of it: nothing, a name for the pattern in place of the node's own, or a whole SPIFFE ID.
// byName tells whether the ID has the node's own name in it, in its place of the pattern: then the trust domain vouches for that name.
func (c Config) NodeID(pattern, name, said string) (id string, byName bool, err error) {
	if strings.HasPrefix(said, "spiffe://") {
		parsed, err := spiffeid.FromString(said)
		if err == nil && (parsed.Path() == "" || !c.counts(parsed)) {
			err = fmt.Errorf("it is not of a workload in one of the trust domains that count")
		}

		if err != nil {
			return "", false, fmt.Errorf("the node's server_name %.128q: %w", said, err)
		}

		return parsed.String(), false, nil
	}

	used := name
	if said != "" {
		used = said
	}

	parsed, err := nodeID(pattern, used)
	if err != nil {
		return "", false, fmt.Errorf("the name %.128q can't stand in a SPIFFE ID, write the whole ID as the node's server_name: %w", used, err)
	}

	return parsed.String(), used == name, nil
}

// nodeID puts a name in its place. It stays within the segment of the path that it stands in: no name has a slash, and dots alone make no segment.
func nodeID(pattern, name string) (spiffeid.ID, error) {
	if err := spiffeid.ValidatePathSegment(name); err != nil {
		return spiffeid.ID{}, err
	}

	return spiffeid.FromString(strings.Replace(pattern, placeholder, name, 1))
}

// counts says whether an ID is of one of the trust domains.
func (c Config) counts(id spiffeid.ID) bool {
	for _, domain := range c.TrustDomains {
		if id.TrustDomain().Name() == domain {
			return true
		}
	}

	return false
}
