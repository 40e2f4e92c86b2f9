package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/store"
)

// problem turns an error into what the caller sees. The store's own sentinels come with texts for callers; everything else is for the log.
func (r *router) problem(ctx context.Context, route string, err error) error {
	if _, isOurs := errors.AsType[huma.StatusError](err); isOurs { // made here, for the caller
		return err
	}
	for _, known := range []struct {
		is     error
		status int
	}{
		{store.ErrChanged, http.StatusPreconditionFailed},
		{store.ErrNotFound, http.StatusNotFound},
		{store.ErrExists, http.StatusConflict},
		{store.ErrConflict, http.StatusConflict},
		{store.ErrInvalid, http.StatusUnprocessableEntity},
	} {
		if errors.Is(err, known.is) {
			return huma.NewError(known.status, sentence(err))
		}
	}
	if errors.Is(err, store.ErrUnavailable) {
		r.config.Logger.Error("the database does not answer", "route", route, "error", err)
		return huma.ErrorWithHeaders(huma.NewError(http.StatusServiceUnavailable, "The database does not answer now. Try again in a moment; the server's log says why."), http.Header{"Retry-After": {"1"}})
	}
	if ctx.Err() == nil { // the caller is still there
		r.config.Logger.Error("a request failed", "route", route, "error", err)
	}
	return huma.NewError(http.StatusInternalServerError, "Something failed in the server; its log says what.")
}

// sentence is an error's text, on one line.
func sentence(err error) string {
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// wrong says what is wrong with a request in itself.
func wrong(details ...error) error {
	return huma.NewError(http.StatusUnprocessableEntity, "What was sent is wrong in itself.", details...)
}

func wrongAt(location string, err error) error {
	return wrong(&huma.ErrorDetail{Location: location, Message: sentence(err)})
}

// fieldPrefix is how the checks of package trust name a field.
func fieldPrefix() *regexp.Regexp { return regexp.MustCompile(`^([a-z_]+): `) }

// fields gives each problem that a check of package trust tells the place that it names, under a location such as body.
func fields(location string, err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // the join itself, not one in the chain
		all = joined.Unwrap()
	}
	prefix := fieldPrefix()
	details := make([]error, 0, len(all))
	for _, one := range all {
		detail := &huma.ErrorDetail{Location: location, Message: sentence(one)}
		if m := prefix.FindStringSubmatch(detail.Message); m != nil {
			detail.Location, detail.Message = location+"."+m[1], strings.TrimPrefix(detail.Message, m[0])
		}
		details = append(details, detail)
	}
	return details
}

// maxEcho bounds what of a wrong value is sent back.
const maxEcho = 128

// withoutLongValues keeps answers small: huma sends a body that it can't read back whole.
func withoutLongValues(_ huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	for _, detail := range model.Errors {
		switch value := detail.Value.(type) {
		case string:
			if len(value) > maxEcho {
				detail.Value = nil
			}
		case float64, bool, int, int64:
		default:
			detail.Value = nil
		}
	}
	return model, nil
}

// writeProblem answers where huma does not.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	body, err := json.Marshal(api.Problem{Title: http.StatusText(status), Status: status, Detail: detail})
	if err != nil {
		body = fmt.Appendf(nil, `{"status":%d}`, status)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
