package access_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

// formDoor is a door that takes sessions.
func formDoor(t *testing.T) *door {
	t.Helper()
	return newDoor(t, access.Config{SignIn: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }})
}

// session signs in at a time, and returns the header that shows it.
func (d *door) session(t *testing.T, token string, at time.Time) map[string]string {
	t.Helper()
	cookie, err := d.SignIn(t.Context(), token, at)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"Cookie": cookie.Name + "=" + cookie.Value}
}

func TestASessionEndsAfterTwelveHours(t *testing.T) {
	t.Parallel()
	d := formDoor(t)
	token := d.token(t, "alice", access.Reader, time.Time{})
	for age, want := range map[time.Duration]int{0: http.StatusOK, 12*time.Hour - time.Minute: http.StatusOK, 12*time.Hour + time.Minute: http.StatusUnauthorized} {
		if w := d.ask(d.session(t, token, time.Now().Add(-age)), nil); w.Code != want {
			t.Errorf("after %s: %d, want %d", age, w.Code, want)
		}
	}
}

func TestOnlySoManySessionsOfATokenAreKeptAndTheOldestGoes(t *testing.T) {
	t.Parallel()
	d := formDoor(t)
	token := d.token(t, "alice", access.Reader, time.Time{})
	began := time.Now()
	other := d.session(t, d.token(t, "bob", access.Reader, time.Time{}), began.Add(-2*time.Hour))
	first, second := d.session(t, token, began.Add(-time.Hour)), d.session(t, token, began.Add(-time.Minute))
	for range store.MaxSessions - 1 {
		d.session(t, token, began)
	}
	if w := d.ask(first, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("the oldest session: %d", w.Code)
	}
	if w := d.ask(second, nil); w.Code != http.StatusOK {
		t.Errorf("the second oldest: %d", w.Code)
	}
	if w := d.ask(other, nil); w.Code != http.StatusOK {
		t.Errorf("an older one of another token: %d", w.Code)
	}
}

func TestWithoutAPageASessionIsWorthNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t, access.Config{})
	session := d.session(t, d.token(t, "alice", access.Admin, time.Time{}), time.Now())
	if w := d.ask(session, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestATokenGoesBeforeASession(t *testing.T) {
	t.Parallel()
	d := formDoor(t)
	session := d.session(t, d.token(t, "alice", access.Admin, time.Time{}), time.Now())
	session["Authorization"] = "Bearer " + d.token(t, "bob", access.Reader, time.Time{})
	if w := d.ask(session, nil); w.Body.String() != "token:bob is reader" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	session["Authorization"] = "Bearer wrong"
	if w := d.ask(session, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("with a wrong token: %d %s", w.Code, w.Body)
	}
}

func TestWhatAnotherSitesPageSendsIsRefusedOnAllPaths(t *testing.T) {
	t.Parallel()
	d := formDoor(t)
	session := d.session(t, d.token(t, "alice", access.Admin, time.Time{}), time.Now())
	for value, want := range map[string]int{"cross-site": http.StatusForbidden, "same-site": http.StatusForbidden, "same-origin": http.StatusOK, "none": http.StatusOK} {
		r := httptest.NewRequest(http.MethodPost, "/v1/nodes", strings.NewReader("{}"))
		r.Header.Set("Cookie", session["Cookie"])
		r.Header.Set("Sec-Fetch-Site", value)
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", value, w.Code, want)
		}
	}
}
