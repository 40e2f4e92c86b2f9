package publish

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// endless is a text that goes on in spaces without end.
func endless(begin string) io.Reader { return io.MultiReader(strings.NewReader(begin), spaces{}) }

type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	return copy(b, strings.Repeat(" ", min(len(b), 1<<15))), nil
}

func TestAnAnswerThatIsTooLargeIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body io.Reader
		want string
	}{
		"a value without end":      {endless(`{"kind":"`), "1000 bytes or more"},
		"no end after the value":   {endless(`{"kind":"NodeList"}`), "1000 bytes or more"},
		"as much as may be":        {strings.NewReader(`{"kind":"` + strings.Repeat("x", 988) + `"}`), ""},
		"a byte more":              {strings.NewReader(`{"kind":"` + strings.Repeat("x", 989) + `"}`), "1000 bytes or more"},
		"too much of what is none": {endless(`<html>`), "reading the answer"},
	} {
		var page kubernetesNodeList
		if err := decodeAnswer(c.body, &page, 1000); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// flood answers without end.
type flood struct{}

// RoundTrip is http.RoundTripper's.
func (flood) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{Request: r, StatusCode: http.StatusOK, Body: io.NopCloser(endless(`{"kind":"NodeList"}`))}, nil
}

func TestKubernetesReadGivesUpOnAnAnswerThatIsTooLarge(t *testing.T) {
	t.Parallel()
	sink := &Kubernetes{api: &kubernetesAPI{base: &url.URL{Scheme: "https", Host: "kubernetes"}, client: &http.Client{Transport: flood{}}}}
	if _, err := sink.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "33554432 bytes or more") {
		t.Errorf("error %v", err)
	}
}
