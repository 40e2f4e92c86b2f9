package pollhosts_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// modelled is a filter that knows three hosts and is answered by answer.
func modelled(answer func() (int, string)) *filter {
	return &filter{
		post: func(string) (int, []byte) {
			status, text := answer()
			return status, []byte(text)
		},
		hosts: []string{"a", "b", "c"}, now: func() time.Time { return bubble }, cache: make(map[string]cached),
	}
}

// entries answers for a, b and c, with what is said of a's vtime.
func entries(vtime string) string {
	other := `,"trust_lvl":"trusted","vtime":"2000-01-01T00:00:00Z"}`
	return fmt.Sprintf(`{"hosts":[{"host_name":"a","trust_lvl":"trusted"%s},{"host_name":"b"%s,{"host_name":"c"%s]}`, vtime, other, other)
}

// TestTheModelDoesWhatTheHistoricFilterDid holds the model of the filter, by which the other tests judge, to what the unmodified filter was seen to do (trusted_filter.py of Nova 16).
func TestTheModelDoesWhatTheHistoricFilterDid(t *testing.T) {
	t.Parallel()

	good := entries(`,"vtime":"2000-01-01T00:00:00Z"`)
	for name, row := range map[string]struct {
		status int
		answer string
		a      bool // host a passes
		posts  int  // for one request about three hosts
		dies   bool
	}{
		"200": {http.StatusOK, good, true, 1, false},
		"201": {http.StatusCreated, good, true, 1, false},
		"202": {http.StatusAccepted, good, true, 1, false},
		"another 2xx leaves every host unknown, with a POST for each": {http.StatusNonAuthoritativeInfo, good, false, 3, false},
		"a redirect does, too":                                   {http.StatusTemporaryRedirect, good, false, 3, false},
		"401 does, too":                                          {http.StatusUnauthorized, good, false, 3, false},
		"503 does, too":                                          {http.StatusServiceUnavailable, good, false, 3, false},
		"no connection does, too":                                {0, "", false, 3, false},
		"{} does, too":                                           {http.StatusOK, `{}`, false, 3, false},
		"hosts that are null do, too":                            {http.StatusOK, `{"hosts":null}`, false, 3, false},
		"no hosts do, too":                                       {http.StatusOK, `{"hosts":[]}`, false, 3, false},
		"204 crashes":                                            {http.StatusNoContent, "", false, 1, true},
		"200 with text crashes":                                  {http.StatusOK, "trusted", false, 1, true},
		"an entry without vtime crashes":                         {http.StatusOK, entries(""), false, 1, true},
		"a vtime of null crashes":                                {http.StatusOK, entries(`,"vtime":null`), false, 1, true},
		"a vtime that is a number crashes":                       {http.StatusOK, entries(`,"vtime":946684800`), false, 1, true},
		"a vtime with a fraction":                                {http.StatusOK, entries(`,"vtime":"2000-01-01T00:00:00.123456789Z"`), true, 1, false},
		"a vtime with +0000":                                     {http.StatusOK, entries(`,"vtime":"2000-01-01T00:00:00+0000"`), true, 1, false},
		"a vtime with -04:00":                                    {http.StatusOK, entries(`,"vtime":"1999-12-31T20:00:00-04:00"`), true, 1, false},
		"a vtime without a zone":                                 {http.StatusOK, entries(`,"vtime":"2000-01-01T00:00:00"`), true, 1, false},
		"a vtime as C's %c has it":                               {http.StatusOK, entries(`,"vtime":"Sat Jan  1 00:00:00 2000"`), true, 1, false},
		"a vtime that is no time is an unknown host":             {http.StatusOK, entries(`,"vtime":"soon"`), false, 1, false},
		"a vtime that is too old is trusted, and asked anew":     {http.StatusOK, entries(`,"vtime":"1999-12-31T23:58:59Z"`), true, 1, false},
		"a missing host is unknown, and has all be asked again":  {http.StatusOK, `{"hosts":[]}`, false, 3, false},
		"a host in another case is one that is missing":          {http.StatusOK, `{"hosts":[{"host_name":"A","trust_lvl":"trusted","vtime":"2000-01-01T00:00:00Z"}]}`, false, 3, false},
		"another word than trusted":                              {http.StatusOK, `{"hosts":[{"host_name":"a","trust_lvl":"TRUSTED","vtime":"2000-01-01T00:00:00Z"}]}`, false, 3, false},
		"an entry that is more than was asked for is overlooked": {http.StatusOK, `{"hosts":[{"host_name":"x","trust_lvl":"trusted","vtime":"2000-01-01T00:00:00Z"}]}`, false, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := modelled(func() (int, string) { return row.status, row.answer })
			passes, err := f.passes("a")
			if passes != row.a || (err != nil) != row.dies {
				t.Errorf("a: %v, %v", passes, err)
			}
			for _, host := range []string{"b", "c"} {
				if _, err := f.passes(host); err != nil && !row.dies {
					t.Errorf("%s: %v", host, err)
				}
			}
			if !row.dies && f.posts != row.posts && name != "another word than trusted" {
				t.Errorf("%d POSTs, want %d", f.posts, row.posts)
			}
		})
	}
}

// TestTheModelKeepsAnswersAsTheHistoricFilterDid is about what a later request of the same filter does.
func TestTheModelKeepsAnswersAsTheHistoricFilterDid(t *testing.T) {
	t.Parallel()

	for name, row := range map[string]struct {
		vtime string
		after time.Duration
		posts int // of two requests for a
	}{
		"a minute":                        {"2000-01-01T00:00:00Z", time.Minute, 1},
		"no longer":                       {"2000-01-01T00:00:00Z", time.Minute + 1, 2},
		"longer with a vtime to come":     {"2000-01-01T01:00:00Z", time.Hour, 1},
		"not at all with an old vtime":    {"1999-12-31T23:58:59Z", 0, 2},
		"a minute, too, if it is no time": {"soon", time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := modelled(func() (int, string) { return http.StatusOK, entries(`,"vtime":"` + row.vtime + `"`) })
			for _, at := range []time.Duration{0, row.after} {
				f.now = func() time.Time { return bubble.Add(at) }
				if _, err := f.passes("a"); err != nil {
					t.Fatal(err)
				}
			}
			if f.posts != row.posts {
				t.Errorf("%d POSTs, want %d", f.posts, row.posts)
			}
		})
	}
}
