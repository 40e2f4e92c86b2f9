//go:build openstack

package openstacktest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// placementVersion is the newest microversion of the oldest Placement that the tests run on.
const placementVersion = "placement 1.39"

// asAdmin is how an administrator speaks to a Placement without Keystone.
var asAdmin = http.Header{"X-Auth-Token": {"admin"}}

// request speaks to an API past trustpool, and returns the status and the body. It knows nothing of what it sends, so that it can be wrong on purpose.
func request(t testing.TB, method, url string, header http.Header, body any) (int, []byte) {
	t.Helper()

	status, text, err := exchange(t.Context(), method, url, header, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}

	return status, text
}

// ask is a request as administrator, outside a test's own time, that has to succeed.
func ask(method, url string, answer any) error {
	status, text, err := exchange(context.Background(), method, url, asAdmin, nil)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}

	if status >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: status %d: %s", method, url, status, text)
	}

	if answer == nil {
		return nil
	}

	return json.Unmarshal(text, answer)
}

func exchange(ctx context.Context, method, url string, header http.Header, body any) (int, []byte, error) {
	var sent io.Reader

	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}

		sent = bytes.NewReader(text)
	}

	req, err := http.NewRequestWithContext(ctx, method, url, sent)
	if err != nil {
		return 0, nil, err
	}

	req.Header = header.Clone()
	req.Header.Set("OpenStack-Api-Version", placementVersion)
	req.Header.Set("Content-Type", "application/json")

	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}

	defer func() { _ = answer.Body.Close() }()

	text, err := io.ReadAll(answer.Body)

	return answer.StatusCode, text, err
}

// must is a request that has to answer with that status; an answer other than nil is decoded.
func must(t testing.TB, status int, method, url string, header http.Header, body, answer any) {
	t.Helper()

	got, text := request(t, method, url, header, body)
	if got != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, url, got, status, text)
	}

	if answer == nil {
		return
	}

	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatalf("%s %s: %v: %s", method, url, err, text)
	}
}
