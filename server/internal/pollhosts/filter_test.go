package pollhosts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// filter behaves as OpenStack's TrustedFilter did (trusted_filter.py, Havana to Pike) upon what a server answers. What makes the original die of an exception is an error here.
type filter struct {
	// post sends a body and returns what came back.
	post func(body string) (status int, answer []byte)
	// hosts are all that the scheduler knows: those whose entries are not fresh are asked about together.
	hosts []string
	now   func() time.Time
	cache map[string]cached
	posts int
}

type cached struct {
	level string
	vtime time.Time
}

// cacheTime is the filter's CACHE_VALID_TIME.
const cacheTime = time.Minute

// passes tells whether a guest that wants a trusted host may run on this one.
func (f *filter) passes(host string) (bool, error) {
	kept, have := f.cache[host]
	if !have || f.now().Sub(kept.vtime) > cacheTime {
		if err := f.update(); err != nil {
			return false, err
		}
		kept, have = f.cache[host]
	}
	return have && kept.level == "trusted", nil
}

// update asks about all hosts, and takes what it can use.
func (f *filter) update() error {
	list, err := json.Marshal(f.hosts)
	if err != nil {
		return err
	}
	f.posts++
	status, raw := f.post(fmt.Sprintf(`{"count": %d, "hosts": %s}`, len(f.hosts), list))
	for _, h := range f.hosts {
		f.cache[h] = cached{level: "unknown"}
	}
	if !slices.Contains([]int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}, status) {
		return nil
	}
	var answer map[string]any
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("AttributeError: the answer is no object: %w", err)
	}
	entries, _ := answer["hosts"].([]any)
	for _, e := range entries {
		if err := f.take(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *filter) take(e any) error {
	entry, _ := e.(map[string]any)
	name, isName := entry["host_name"].(string)
	level, isLevel := entry["trust_lvl"].(string)
	stamp, isString := entry["vtime"].(string)
	if !isName || !isLevel || !isString {
		return fmt.Errorf("KeyError or TypeError in the entry %v", e)
	}
	if !slices.Contains(f.hosts, name) {
		return nil // its own name, or another spelling: nobody looks it up
	}
	vtime, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		f.cache[name] = cached{level: "unknown"}
		return nil //nolint:nilerr // a stamp that can't be read is an unknown host
	}
	f.cache[name] = cached{level, vtime}
	return nil
}

// stamp is the one form of a vtime that ever leaves.
var stamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
