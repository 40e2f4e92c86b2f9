package pollhosts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// filter behaves as OpenStack's TrustedFilter did (trusted_filter.py, Havana to Pike) upon what a server answers. What makes the original die of an exception is an error here.
type filter struct {
	// post sends a body and returns what came back; a status of 0 is a connection that did not come about.
	post func(body string) (status int, answer []byte)
	// hosts are all that the filter knows: those that the database named when the scheduler started, and those that it was asked about since. It always asks about all of them.
	hosts []string
	now   func() time.Time
	cache map[string]cached
	posts int
}

type cached struct {
	level string
	vtime time.Time
}

// cacheTime is the filter's attestation_auth_timeout, unless somebody set it.
const cacheTime = time.Minute

// passes tells whether a guest that wants a trusted host may run on this one.
func (f *filter) passes(host string) (bool, error) {
	if !slices.Contains(f.hosts, host) {
		f.hosts = append(f.hosts, host)
	}
	if kept, have := f.cache[host]; !have || f.now().Sub(kept.vtime) > cacheTime {
		if err := f.update(); err != nil {
			return false, err
		}
	}
	return f.cache[host].level == "trusted", nil
}

// update forgets everything, asks about all hosts, and takes what it can use.
func (f *filter) update() error {
	for _, h := range f.hosts {
		f.cache[h] = cached{level: "unknown"}
	}
	list, err := json.Marshal(f.hosts)
	if err != nil {
		return err
	}
	f.posts++
	status, raw := f.post(fmt.Sprintf(`{"count": %d, "hosts": %s}`, len(f.hosts), list))
	if !slices.Contains([]int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}, status) {
		return nil
	}
	var answer any
	if err := json.Unmarshal(raw, &answer); err != nil {
		answer = string(raw) // which has no get
	}
	if answer == nil {
		return nil
	}
	object, ok := answer.(map[string]any)
	if !ok {
		return fmt.Errorf("AttributeError: the answer %.40q is no object", raw)
	}
	if object["hosts"] == nil {
		return nil
	}
	entries, ok := object["hosts"].([]any)
	if !ok {
		return fmt.Errorf("TypeError: hosts is %v", object["hosts"])
	}
	for _, e := range entries {
		if err := f.take(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *filter) take(e any) error {
	entry, isEntry := e.(map[string]any)
	name, isName := entry["host_name"].(string)
	level, isLevel := entry["trust_lvl"].(string)
	stamp, isString := entry["vtime"].(string)
	if !isEntry || !isName || !isLevel || !isString {
		return fmt.Errorf("KeyError or TypeError in the entry %v", e)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05.999999999", time.ANSIC} {
		if vtime, err := time.Parse(layout, stamp); err == nil {
			f.cache[name] = cached{level, vtime}
			return nil
		}
	}
	f.cache[name] = cached{"unknown", f.now()}
	return nil
}
