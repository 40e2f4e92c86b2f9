package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Change says for which revision a change is meant (RFC 9110, 13.1.1 and 13.1.2).
type Change struct {
	IfMatch string `header:"If-Match" maxLength:"64" doc:"the ETag of the revision that the change is meant for" example:"\"7\""`
}

// Creation is a change that can also make something.
type Creation struct {
	Change
	IfNoneMatch string `header:"If-None-Match" maxLength:"64" doc:"* to make what is not there yet" example:"*"`
}

// any returns the revision that was said, 0 if none was: whichever there is.
func (c *Change) any() (int64, error) {
	if c.IfMatch == "" || c.IfMatch == "*" {
		return 0, nil
	}
	return parseETag(c.IfMatch)
}

// needed returns the revision that has to be said.
func (c *Change) needed() (int64, error) {
	if c.IfMatch == "" || c.IfMatch == "*" {
		return 0, huma.NewError(http.StatusPreconditionRequired, `Say for which revision this is meant: If-Match: "7", the ETag of what you saw.`)
	}
	return parseETag(c.IfMatch)
}

// revision returns the one that is to be replaced, 0 if there must be none.
func (c *Creation) revision() (int64, error) {
	switch {
	case c.IfNoneMatch == "":
		if c.IfMatch == "" {
			return 0, huma.NewError(http.StatusPreconditionRequired, `Say what there is now: If-None-Match: * if there is none of this name, If-Match: "7" with the ETag of what you saw if there is one.`)
		}
		return c.needed()
	case c.IfNoneMatch != "*" || c.IfMatch != "":
		return 0, huma.NewError(http.StatusBadRequest, "Write either If-None-Match: * or If-Match with one ETag.")
	default:
		return 0, nil
	}
}

// parseETag reads the ETag of a revision.
func parseETag(text string) (int64, error) {
	inner, ok := strings.CutPrefix(text, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	n, err := strconv.ParseInt(inner, 10, 64)
	if !ok || !closed || err != nil || n < 1 || etag(n) != text {
		return 0, huma.NewError(http.StatusBadRequest, fmt.Sprintf(`If-Match: %q is no ETag of a revision, write one as "7", with the quotes.`, text))
	}
	return n, nil
}

// etag is that of a revision.
func etag(revision int64) string { return strconv.Quote(strconv.FormatInt(revision, 10)) }

// Reading lets a caller leave out what he has.
type Reading struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"ETags of what the caller has: 304 if it is still one of them"`
}

// unchanged is a 304 if the caller has what there is, and else nil (RFC 9110, 13.1.2: a weak comparison).
func (c *Reading) unchanged(tag string) error {
	have := strings.Split(c.IfNoneMatch, ",")
	same := slices.ContainsFunc(have, func(t string) bool {
		t = strings.TrimSpace(t)
		return t == "*" || strings.TrimPrefix(t, "W/") == tag
	})
	if !same {
		return nil
	}
	return huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"Etag": {tag}})
}
