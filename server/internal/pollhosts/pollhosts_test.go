package pollhosts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/pollhosts"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

const validity = 5 * time.Minute

// site is a cloud of one good, one bad and one silent node, and what answers for it.
type site struct {
	*nodetest.Cloud
	handler http.Handler
}

// newSite begins in the bubble's first second.
func newSite(t testing.TB) *site {
	t.Helper()
	s := storetest.New(t)
	cloud, err := nodetest.NewCloud(t.Context(), s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := cloud.Populate(t.Context(), validity, "good", "uuid-1"); err != nil {
		t.Fatal(err)
	}
	return &site{cloud, pollhosts.Handler(pollhosts.Config{Store: s, FilterCache: pollhosts.DefaultFilterCache, Logger: slog.New(slog.DiscardHandler)})}
}

func (s *site) post(body string) (int, []byte) {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, pollhosts.Paths()[0], strings.NewReader(body)))
	return w.Code, w.Body.Bytes()
}

// reattest reboots a node into a hypervisor, and has it challenged.
func (s *site) reattest(t *testing.T, node, hypervisor string) {
	t.Helper()
	s.Node(node).Reboot(hypervisor)
	err := s.Store.Hurry(t.Context(), node, time.Now())
	if err := errors.Join(err, s.Attest(t.Context(), time.Now(), validity)); err != nil {
		t.Fatal(err)
	}
}

func (s *site) filter(hosts ...string) *filter {
	return &filter{post: s.post, hosts: hosts, now: time.Now, cache: make(map[string]cached)}
}

// stamp is the one form of a vtime that ever leaves, of all that the filter can read.
var stamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)

func TestAnAnswerIsTheSameToTheLastByte(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		time.Sleep(90*time.Second + 700*time.Millisecond) //nolint:forbidigo // the bubble's time

		code, got := s.post(`{"count": 5, "hosts": ["good", "BAD.example", "silent.example", "nobody", "uuid-1"]}`)
		want := `{"hosts":[{"host_name":"good","trust_lvl":"trusted","vtime":"2000-01-01T00:01:30Z"},` +
			`{"host_name":"BAD.example","trust_lvl":"untrusted","vtime":"2000-01-01T00:01:30Z"},` +
			`{"host_name":"silent.example","trust_lvl":"unknown","vtime":"2000-01-01T00:01:30Z"},` +
			`{"host_name":"nobody","trust_lvl":"unknown","vtime":"2000-01-01T00:01:30Z"},` +
			`{"host_name":"uuid-1","trust_lvl":"trusted","vtime":"2000-01-01T00:01:30Z"}]}`
		if code != http.StatusOK || string(got) != want {
			t.Errorf("%d\n%s\nwant\n%s", code, got, want)
		}
	})
}

// Each row is something that the filter does upon an answer, and that ours must never bring about, or must.
func TestTheFilterFindsWhatItNeeds(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]func(*testing.T, *site){
		"200 and JSON are used": func(t *testing.T, s *site) {
			want(t, s.filter("good", "bad.example"), map[string]bool{"good": true, "bad.example": false})
		},
		"all other statuses leave every host unknown": func(t *testing.T, s *site) {
			f := s.filter("good")
			f.post = func(string) (int, []byte) { return s.post(`{"hosts": null}`) }
			want(t, f, map[string]bool{"good": false, "bad.example": false})
			if f.posts != 2 {
				t.Errorf("asked %d times about 2 hosts", f.posts)
			}
		},
		"a host that nobody knows has an entry, or all would be asked again for each": func(t *testing.T, s *site) {
			f := s.filter("good", "nobody", "silent.example", "bad.example")
			want(t, f, map[string]bool{"good": true, "nobody": false, "silent.example": false, "bad.example": false})
			if f.posts != 1 {
				t.Errorf("asked %d times for one request", f.posts)
			}
		},
		"another spelling would not be found": func(t *testing.T, s *site) {
			want(t, s.filter("GOOD.Example"), map[string]bool{"GOOD.Example": true})
		},
		"a vtime of now is kept for a minute": func(t *testing.T, s *site) {
			f := s.filter("good")
			want(t, f, map[string]bool{"good": true})
			time.Sleep(59 * time.Second) //nolint:forbidigo // the bubble's time
			want(t, f, map[string]bool{"good": true})
			if f.posts != 1 {
				t.Errorf("asked %d times in a minute", f.posts)
			}
		},
		"a filter that begins without knowing any host asks once for each, and then no more": func(t *testing.T, s *site) {
			f := s.filter()
			for posts, host := range []string{"good", "bad.example", "silent.example", "nobody"} {
				want(t, f, map[string]bool{host: host == "good"})
				if f.posts != posts+1 {
					t.Errorf("asked %d times for %d hosts", f.posts, posts+1)
				}
			}
			want(t, f, map[string]bool{"good": true, "nobody": false, "silent.example": false, "bad.example": false})
			if f.posts != 4 {
				t.Errorf("the next request asked %d times more", f.posts-4)
			}
		},
		"hosts whose verdicts have expired are asked about once, not once each": func(t *testing.T, s *site) {
			time.Sleep(validity + time.Hour) //nolint:forbidigo // the bubble's time
			f := s.filter("good", "bad.example", "silent.example")
			want(t, f, map[string]bool{"good": false, "bad.example": false, "silent.example": false})
			if f.posts != 1 {
				t.Errorf("asked %d times for one request", f.posts)
			}
		},
		"hosts whose verdicts are about to end are asked about once, too": func(t *testing.T, s *site) {
			time.Sleep(validity - 2*time.Second) //nolint:forbidigo // the bubble's time
			f := s.filter("good", "bad.example", "silent.example")
			want(t, f, map[string]bool{"good": true, "bad.example": false, "silent.example": false})
			if f.posts != 1 {
				t.Errorf("asked %d times for one request", f.posts)
			}
		},
		"a host that is trusted no more is trusted for a minute at the most": func(t *testing.T, s *site) {
			f := s.filter("good")
			want(t, f, map[string]bool{"good": true})
			s.reattest(t, "good.example", "other")
			time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time
			want(t, f, map[string]bool{"good": true})
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's time
			want(t, f, map[string]bool{"good": false})
		},
		"a verdict that has expired is unknown": func(t *testing.T, s *site) {
			time.Sleep(validity) //nolint:forbidigo // the bubble's time
			want(t, s.filter("good"), map[string]bool{"good": false})
		},
		"no host is trusted for longer than its verdict lasts, whenever it was asked": func(t *testing.T, s *site) {
			for asked := time.Duration(0); asked < validity; asked += 7 * time.Second {
				f := s.filter("good")
				want(t, f, map[string]bool{"good": true})
				rest := validity - time.Since(bubble)
				f.now = func() time.Time { return time.Now().Add(rest + time.Second) } // a second for the cut vtime
				f.post = func(string) (int, []byte) { return http.StatusServiceUnavailable, nil }
				want(t, f, map[string]bool{"good": false})
				time.Sleep(7 * time.Second) //nolint:forbidigo // the bubble's time
			}
		},
		"the Folsom filter asks for one host, as a string": func(t *testing.T, s *site) {
			f := s.filter("good")
			f.post = func(string) (int, []byte) { return s.post(`{"count":1,"hosts":"good"}`) }
			want(t, f, map[string]bool{"good": true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { rule(t, newSite(t)) })
		})
	}
}

// bubble is when each synctest bubble begins.
var bubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func want(t *testing.T, f *filter, passes map[string]bool) {
	t.Helper()
	for host, want := range passes {
		got, err := f.passes(host)
		if err != nil || got != want {
			t.Errorf("%s after %s: %v, %v, want %v", host, time.Since(bubble), got, err, want)
		}
	}
}

// The corpus: whatever is asked, no answer has a status or a body that the filter dies of, and each name comes back as it was written.
func TestNoRequestIsAnsweredInAWayThatTheFilterDiesOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for body, status := range map[string]int{
			`{"hosts":["good"]}`: 200,
			`{"hosts":[]}`:       200,
			`{"count":"x","pcrmask":7,"other":{},"hosts":["good"]}`:    200,
			`{"hosts":["","` + strings.Repeat("x", 5000) + `"]}`:       200,
			`{"hosts":["good","good","GOOD"]}`:                         200,
			`{"hosts":["\u0067ood","a\/b","<&>","ä","\ud800","\"\\"]}`: 200,
			`{"hosts": [ "good" , "bad.example"	] }`:                   200,
			`{"hosts":["good"],"timeThreshold":60000}`:                 200,
			`{"hosts":["good"],"timeThreshold":null}`:                  200,
			`{"hosts":["good"],"timeThreshold":-9e99}`:                 400,
			`{"hosts":["good"],"timeThreshold":"1"}`:                   400,
			`{"hosts":null}`:                                           400,
			`{"hosts":7}`:                                              400,
			`{"hosts":{}}`:                                             400,
			`{"hosts":[7]}`:                                            400,
			`{"hosts":[null]}`:                                         400,
			`{"hosts":["a",["b"]]}`:                                    400,
			`{}`:                                                       400,
			`[]`:                                                       400,
			``:                                                         400,
			`hosts=good`:                                               400,
			`{"hosts":["good"]} {}`:                                    400,
			"{\"hosts\":[\"\xff\"]}":                                   400,
			`{"hosts":["` + strings.Repeat("x", 1<<20) + `"]}`:         413,
			`{"hosts":[` + strings.Repeat(`"x",`, 10_000) + `"x"]}`: 400,
		} {
			code, answer := s.post(body)
			if code != status {
				t.Errorf("%.60s: %d %.200s, want %d", body, code, answer, status)
			}
			checkAnswer(t, body, code, answer)
		}
	})
}

func checkAnswer(t *testing.T, body string, code int, answer []byte) {
	t.Helper()
	var got struct {
		Hosts []struct {
			Name  json.RawMessage `json:"host_name"`
			Level string          `json:"trust_lvl"`
			VTime *string         `json:"vtime"`
		}
		Detail string
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Errorf("%.60s: the filter dies of %.200q: %v", body, answer, err)
		return
	}
	if code != http.StatusOK {
		if got.Detail == "" {
			t.Errorf("%.60s: nobody is told what is wrong: %s", body, answer)
		}
		return
	}
	var asked struct{ Hosts []json.RawMessage }
	if err := json.Unmarshal([]byte(body), &asked); err != nil {
		t.Fatal(err)
	}
	var names []json.RawMessage
	for _, e := range got.Hosts {
		names = append(names, e.Name)
		if e.VTime == nil || !stamp.MatchString(*e.VTime) || e.Level == "" {
			t.Errorf("%.60s: the filter dies of %.200s", body, answer)
			continue
		}
		if at, err := time.Parse(time.RFC3339, *e.VTime); err != nil || at.After(time.Now()) {
			t.Errorf("%.60s: the filter keeps %.200s for longer than its time: %v", body, answer, err)
		}
	}
	if diff := cmp.Diff(fmt.Sprintf("%s", asked.Hosts), fmt.Sprintf("%s", names)); diff != "" {
		t.Errorf("names (-asked +answered):\n%s", diff)
	}
}

func TestAnswersAreAsYoungAsWasAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's time
		for threshold, level := range map[string]string{"0": "unknown", "1999": "unknown", "2000": "trusted", "3600000": "trusted", "99999999999999999": "trusted", "-1": "unknown"} {
			_, answer := s.post(`{"hosts":["good"],"timeThreshold":` + threshold + `}`)
			if !strings.Contains(string(answer), `"trust_lvl":"`+level+`"`) {
				t.Errorf("timeThreshold %s: %s, want %s", threshold, answer, level)
			}
		}
	})
}

func TestOnlyPostIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, httptest.NewRequest(method, pollhosts.Paths()[1], nil))
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
				t.Errorf("%s: %d %v", method, w.Code, w.Header())
			}
		}
	})
}

func TestADatabaseThatFailsLeavesEveryHostUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if err := s.Store.Close(); err != nil {
			t.Fatal(err)
		}
		code, answer := s.post(`{"hosts":["good"]}`)
		if code != http.StatusOK || !strings.Contains(string(answer), `"trust_lvl":"unknown"`) {
			t.Errorf("%d %s", code, answer)
		}
		want(t, s.filter("good"), map[string]bool{"good": false})
	})
}
