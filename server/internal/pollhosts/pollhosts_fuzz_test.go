package pollhosts_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// FuzzPollHosts: whatever is asked, the filter does not die of the answer, each name comes back as it was written, in its place, and no answer is a failure of the server's.
func FuzzPollHosts(f *testing.F) {
	s := newSite(f)
	f.Add(`{"hosts":["good","\u0067ood","a\/b","<&>","\ud800",""],"count":1}`)
	f.Add(`{"hosts":"bad.example","timeThreshold":60000}`)
	f.Add(`{"hosts":["good"],"HOSTS":["bad.example"],"timeThreshold":-1}`)
	f.Add(`{"hosts":[null]}`)
	f.Fuzz(func(t *testing.T, body string) {
		code, answer := s.post(body)
		if code != http.StatusOK && code != http.StatusBadRequest && code != http.StatusRequestEntityTooLarge {
			t.Fatalf("%d %s", code, answer)
		}
		if code != http.StatusOK || isList(body) { // Folsom's filter asks for one host, without a list
			checkAnswer(t, body, code, answer)
		}
	})
}

func isList(body string) bool {
	var asked struct{ Hosts []json.RawMessage }
	return json.Unmarshal([]byte(body), &asked) == nil
}
