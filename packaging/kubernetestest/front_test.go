package kubernetestest_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// front lies between a sink and a cluster, to have things happen between two requests of the sink.
type front struct {
	url  string
	ca   []byte       // DER
	gone atomic.Int64 // answers 410 that passed
}

// front returns one that calls between after each page of a list, with the numbers of the list and of the page in it, before the sink sees the page.
func (c *cluster) front(t *testing.T, between func(lists, pages int)) *front {
	t.Helper()

	target, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}

	var (
		f            front
		lists, pages int // a sink has one request at a time
	)

	proxy := &httputil.ReverseProxy{
		Transport: c.client().Transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(response *http.Response) error {
			if response.StatusCode == http.StatusGone {
				f.gone.Add(1)
			}

			if !response.Request.URL.Query().Has("continue") {
				lists, pages = lists+1, 0
			}
			pages++
			between(lists, pages)

			return nil
		},
	}

	server := httptest.NewTLSServer(proxy)
	t.Cleanup(server.Close)
	f.url, f.ca = server.URL, server.Certificate().Raw

	return &f
}
