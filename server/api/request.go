package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	// maxAnswer bounds what is read of one answer: a page of the largest things.
	maxAnswer = 256 << 20
	// maxProblem bounds what is read of an error.
	maxProblem = 1 << 20
)

// request is one call.
type request struct {
	method string
	// root is where path begins: v1, or empty for what is beside it.
	root string
	// path are its segments after root, which are escaped.
	path  []string
	query url.Values
	// header has what goes beyond who is calling.
	header http.Header
	// body is sent as JSON; an io.Reader as it is, with the Content-Type of header.
	body any
}

func get(path ...string) request  { return request{method: http.MethodGet, root: "v1", path: path} }
func post(path ...string) request { return request{method: http.MethodPost, root: "v1", path: path} }
func put(path ...string) request  { return request{method: http.MethodPut, root: "v1", path: path} }

func remove(path ...string) request {
	return request{method: http.MethodDelete, root: "v1", path: path}
}

func (r request) with(key, value string) request {
	if value == "" {
		return r
	}
	query := url.Values{key: {value}}
	for k, v := range r.query {
		if k != key {
			query[k] = v
		}
	}
	r.query = query
	return r
}

// at says for which revision a change is meant; 0: for whichever there is.
func (r request) at(revision int64) request {
	if revision != 0 {
		r.header = http.Header{"If-Match": {strconv.Quote(strconv.FormatInt(revision, 10))}}
	}
	return r
}

// made is at, but 0 means that there must be none yet.
func (r request) made(revision int64) request {
	if revision == 0 {
		r.header = http.Header{"If-None-Match": {"*"}}
	}
	return r.at(revision)
}

func (r request) sending(body any) request {
	r.body = body
	return r
}

// call asks, and reads a JSON answer into a value; nil: the answer has no body.
func (c *Client) call(ctx context.Context, r request, into any) (err error) {
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()

	if into == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxProblem)) // or the connection can't be used again
		return err
	}
	raw, err := whole(response)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", response.Request.URL, err)
	}
	return nil
}

// raw asks, and returns the answer as it is.
func (c *Client) raw(ctx context.Context, r request) (raw []byte, err error) {
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	return whole(response)
}

func whole(response *http.Response) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", response.Request.URL, err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("reading the answer of %s: more than %d bytes", response.Request.URL, maxAnswer)
	}
	return raw, nil
}

// send asks, and returns an answer that is none of an error. The caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	message, err := c.message(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("asking the attestation server: %w", err)
	}
	response, err := c.http.Do(message)
	if err != nil {
		return nil, fmt.Errorf("asking the attestation server: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return nil, errors.Join(problem(response), response.Body.Close())
	}
	return response, nil
}

func (c *Client) message(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	contentType := ""
	switch b := r.body.(type) {
	case nil:
	case io.Reader:
		body = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(raw), "application/json"
	}

	message, err := http.NewRequestWithContext(ctx, r.method, c.url(r), body)
	if err != nil {
		return nil, err
	}
	message.Header.Set("Accept", "application/json, application/problem+json;q=0.9")
	message.Header.Set("User-Agent", c.config.UserAgent)
	if contentType != "" {
		message.Header.Set("Content-Type", contentType)
	}
	if c.config.Token != "" {
		message.Header.Set("Authorization", "Bearer "+c.config.Token)
	}
	for key, values := range r.header {
		message.Header[key] = values
	}
	return message, nil
}

func (c *Client) url(r request) string {
	segments := []string{c.base.Scheme + "://" + c.base.Host + c.base.EscapedPath()}
	if r.root != "" {
		segments = append(segments, r.root)
	}
	for _, s := range r.path {
		segments = append(segments, url.PathEscape(s))
	}
	u := strings.Join(segments, "/")
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	return u
}

// problem reads an answer that is an error. What is no Problem, as of a proxy on the way, becomes one.
func problem(response *http.Response) error {
	p := &Problem{Status: response.StatusCode, Title: http.StatusText(response.StatusCode)}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err != nil || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(raw, p) != nil {
		*p = Problem{Status: response.StatusCode, Title: http.StatusText(response.StatusCode), Detail: "this is no answer of an attestation server: look at the URL"}
	}
	p.Status = response.StatusCode // whatever the body says
	return p
}
