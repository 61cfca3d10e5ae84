package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Problem is an error that the service answered with (RFC 9457).
type Problem struct {
	Status int            `json:"status"`
	Code   string         `json:"code"`
	Title  string         `json:"title"`
	Detail string         `json:"detail"`
	Errors []FieldProblem `json:"errors"`
}

// FieldProblem tells what is wrong with one field.
type FieldProblem struct {
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Error tells the problem in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Detail != "":
		b.WriteString(p.Detail)
	case p.Title != "":
		b.WriteString(p.Title)
	default:
		b.WriteString(http.StatusText(p.Status))
	}
	for _, f := range p.Errors {
		fmt.Fprintf(&b, "; %s: %s", f.Field, f.Detail)
	}
	if p.Code != "" {
		fmt.Fprintf(&b, " (%s)", p.Code)
	} else {
		fmt.Fprintf(&b, " (HTTP status %d)", p.Status)
	}
	if p.Status == http.StatusUnauthorized {
		b.WriteString("; give a token with --token or ROLLCALL_TOKEN")
	}
	return b.String()
}

// Refused tells whether the service refused what was asked, rather than failed to do it.
func (p *Problem) Refused() bool { return p.Status >= 400 && p.Status < 500 }

// itemProblem returns the problem of one item of many, which has a code but no status of its own.
func itemProblem(code, detail string, fields []FieldProblem) *Problem {
	if code == "" {
		return nil
	}
	p := &Problem{Status: http.StatusConflict, Code: code, Detail: detail, Errors: fields}
	switch code {
	case "internal", "unavailable", "outcome_unknown", "client_gone", "stopping":
		p.Status = http.StatusServiceUnavailable
	}
	return p
}

// maxProblem bounds how much of an answer is read for its problem.
const maxProblem = 1 << 20

// readProblem reads the problem that an answer holds. What is no problem of the service's, but
// perhaps of something between, keeps its status.
func readProblem(resp *http.Response) error {
	p := &Problem{}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || json.Unmarshal(b, p) != nil {
		p = &Problem{}
	}
	p.Status = resp.StatusCode
	return p
}
