package command

import (
	"context"
	"iter"
	"strconv"

	"rollcall/domain"
)

// ImportMode tells what an import does with an account that exists.
type ImportMode string

// The modes of an import.
const (
	ImportCreate ImportMode = "create" // it is refused
	ImportUpsert ImportMode = "upsert" // it is edited
)

// importInFlight is how many rows of an import are in flight: enough to fill the
// commits of the log, few enough to be fair to others.
const importInFlight = 512

// Row is one row of an import.
type Row struct {
	Line   int   // where it stands in the file, from 1
	Err    error // the row cannot be understood; it becomes the row's result
	UserID domain.UserID
	Type   domain.AccountType
	Patch  domain.Patch
}

// RowResult tells what became of a row.
type RowResult struct {
	Line   int
	UserID domain.UserID
	Result Result
	Err    error // as of Execute
}

// Import executes a command for each row. Rows of one account are decided in their
// order, others side by side; each has the command id of the request with its line
// added, so that an import given again under the same id repeats nothing. emit is
// called from one goroutine with each result as it is decided. What is held in memory does not grow with the number of rows.
//
// When ctx ends or emit fails, no further row is started, those in flight are
// finished, and that error is returned. rows must end soon after ctx does.
// Errors otherwise: *domain.Rejection for a mode or id that cannot be accepted.
func (s *Service) Import(ctx context.Context, req Request, app domain.AppID, mode ImportMode, rows iter.Seq[Row], emit func(RowResult) error) error {
	if err := checkImport(req, mode); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	finishing := context.WithoutCancel(ctx) // a row that has begun is decided
	results := make(chan RowResult, importInFlight)
	rowsOf := newSequences(importInFlight)
	go func() {
		for row := range rows {
			if !rowsOf.run(ctx, row.UserID, func() { results <- s.importRow(finishing, req, app, mode, row) }) {
				break
			}
		}
		rowsOf.wait()
		close(results)
	}()
	for r := range results {
		if context.Cause(ctx) != nil {
			continue // drain, so that the workers can end
		}
		if err := emit(r); err != nil {
			cancel(err)
		}
	}
	return context.Cause(ctx)
}

func checkImport(req Request, mode ImportMode) error {
	if mode != ImportCreate && mode != ImportUpsert {
		return &domain.Rejection{
			Code: domain.CodeInvalid, Detail: "the import cannot be accepted",
			Fields: []domain.FieldError{{Field: "mode", Code: domain.CodeBadValue, Detail: "one of create, upsert"}},
		}
	}
	return checkID(req.ID)
}

func (s *Service) importRow(ctx context.Context, req Request, app domain.AppID, mode ImportMode, row Row) RowResult {
	r := RowResult{Line: row.Line, UserID: row.UserID, Err: row.Err}
	if r.Err != nil {
		return r
	}
	req.ID += "/" + strconv.Itoa(row.Line)
	var cmd domain.Command
	if mode == ImportUpsert {
		cmd = domain.UpsertAccount{App: app, UserID: row.UserID, Type: row.Type, Patch: row.Patch}
	} else {
		cmd = domain.CreateAccount{App: app, UserID: row.UserID, Type: row.Type, Profile: row.Patch.Values}
	}
	r.Result, r.Err = s.observed(ctx, req, cmd)
	return r
}
