package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Problem is the server's answer to what it does not do (RFC 9457). It is an error.
type Problem struct {
	// Type is a URI of the kind of problem; empty: about:blank.
	Type string `json:"type,omitempty"`
	// Title is that of the status.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Detail says what is wrong here, and what to do.
	Detail string `json:"detail,omitempty"`
	// Instance is a URI of this one; empty.
	Instance string `json:"instance,omitempty"`
	// Errors are what is wrong with single fields.
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	// Location is where it is: body.address, query.limit, path.name, header.If-Match.
	Location string `json:"location,omitempty"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Value is what was sent there.
	Value any `json:"value,omitempty"`
}

// Error gives status, detail and the fields, one after the other.
func (p *Problem) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "the server answers %d %s", p.Status, p.Title)
	if p.Detail != "" {
		text.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		text.WriteString("; ")
		if e.Location != "" {
			text.WriteString(e.Location + ": ")
		}
		text.WriteString(e.Message)
	}
	return text.String()
}

// StatusOf returns the HTTP status of a Problem in the chain of an error; 0 if there is none, as when the server was not reached.
func StatusOf(err error) int {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status
	}
	return 0
}

// IsNotFound tells whether an error says that there is none of this name.
func IsNotFound(err error) bool { return StatusOf(err) == http.StatusNotFound }

// IsChanged tells whether an error says that the thing was changed since the caller looked: get it again, and decide again.
func IsChanged(err error) bool { return StatusOf(err) == http.StatusPreconditionFailed }
