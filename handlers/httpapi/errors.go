package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/wire"
)

// problemOf turns the error of a use case into the answer. What is not
// expected is logged and told to nobody else.
func (h *Handler) problemOf(ctx context.Context, err error) *answer {
	if a, ok := errors.AsType[*answer](err); ok {
		return a
	}
	p, fault := h.codes.Of(ctx, err)
	switch {
	case fault && p.Code == wire.CodeInternal:
		h.logger.LogAttrs(ctx, slog.LevelError, "a request failed", slog.Any("error", err))
	case fault:
		h.logger.LogAttrs(ctx, slog.LevelWarn, "a request could not be served", slog.Any("error", err))
	}
	return answerOf(p)
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
		code = wire.CodeInternal
	}
	p := h.problem(code, "the request has parameters that cannot be accepted")
	p.Status = e.Status
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, parameterError(d))
	}
	slices.SortFunc(p.Errors, func(a, b wire.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return p, nil
}

// parameterError names a parameter as its documentation does.
func parameterError(d *huma.ErrorDetail) wire.FieldError {
	_, name, _ := strings.Cut(d.Location, ".")
	f := wire.FieldError{Field: name, Code: domain.CodeBadValue, Detail: d.Message}
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
