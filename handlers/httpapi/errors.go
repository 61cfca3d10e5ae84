package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/query"
)

// problemOf turns the error of a use case into the answer. What is not
// expected is logged and told to nobody else.
func (h *Handler) problemOf(ctx context.Context, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var r *domain.Rejection
	if errors.As(err, &r) {
		return h.codes.rejected(r)
	}
	if p, ok := h.accessProblem(ctx, err); ok {
		return p
	}
	switch {
	case errors.Is(err, eventstore.ErrUnknownOutcome):
		return h.codes.problem(codeOutcomeUnknown, "the log did not answer, so the command may or may not have been executed; repeat it with the same Idempotency-Key to find out")
	case errors.Is(err, query.ErrNotCaughtUp):
		return h.codes.problem(codeNotCaughtUp, "the list has not reached min_position in time; read again in a moment")
	case errors.Is(err, eventstore.ErrConflict):
		return h.codes.problem(codeUnavailable, "too many writers at once changed the same thing; nothing was written, repeat the command")
	case ctx.Err() != nil && errors.Is(err, ctx.Err()), errors.Is(err, context.Canceled):
		return h.codes.problem(codeClientGone, "the request was given up")
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		h.logger.LogAttrs(ctx, slog.LevelWarn, "a request could not be served", slog.Any("error", err))
		return h.codes.problem(codeUnavailable, "the log cannot be reached; nothing was written, repeat the request in a moment")
	}
	h.logger.LogAttrs(ctx, slog.LevelError, "a request failed", slog.Any("error", err))
	return h.codes.problem(codeInternal, "the service failed; its log tells why")
}

// rejected turns a refusal into the answer.
func (c codes) rejected(r *domain.Rejection) *Problem {
	return c.problem(r.Code, r.Detail, fieldErrors(r.Fields)...)
}

// fieldErrors gives the fields the names that they have in HTTP.
func fieldErrors(fields []domain.FieldError) []FieldError {
	out := make([]FieldError, len(fields))
	for i, f := range fields {
		if f.Field == "command_id" {
			f.Field = headerIdempotencyKey
		}
		out[i] = FieldError{Field: f.Field, Code: f.Code, Detail: f.Detail}
	}
	return out
}

// invalid refuses one field.
func invalid(thing, field string, code domain.Code, format string, args ...any) error {
	return &domain.Rejection{
		Code: domain.CodeInvalid, Detail: thing + " has fields that cannot be accepted",
		Fields: []domain.FieldError{{Field: field, Code: code, Detail: fmt.Sprintf(format, args...)}},
	}
}

// refuse is an error of a code that only the HTTP API gives.
func refuse(code domain.Code, format string, args ...any) error {
	return &domain.Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// translate gives the errors that huma itself finds, which are those of
// parameters, the shape that all other errors have.
func (h *Handler) translate(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := domain.CodeInvalid
	if e.Status >= http.StatusInternalServerError {
		code = codeInternal
	}
	p := h.codes.problem(code, "the request has parameters that cannot be accepted")
	p.Status = e.Status
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, parameterError(d))
	}
	slices.SortFunc(p.Errors, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return p, nil
}

// parameterError names a parameter as its documentation does.
func parameterError(d *huma.ErrorDetail) FieldError {
	_, name, _ := strings.Cut(d.Location, ".")
	f := FieldError{Field: name, Code: domain.CodeBadValue, Detail: d.Message}
	switch {
	case strings.HasPrefix(d.Message, "unknown"):
		f.Code, f.Detail = domain.CodeUnknownField, "there is no such parameter"
	case strings.HasPrefix(d.Message, "required"):
		f.Code = domain.CodeRequired
	case strings.Contains(d.Message, "integer"):
		f.Detail = "a whole number"
	}
	return f
}
