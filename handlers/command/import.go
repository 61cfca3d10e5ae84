package command

import (
	"context"
	"iter"
	"strconv"
	"time"

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
// order, others side by side; their times, by which lists and exports are ordered, have the order of the rows. Each has the command id of the request with its line
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
		var last time.Time
		for row := range rows {
			at := after(last, s.opts.Now().UTC())
			last = at
			if !rowsOf.run(ctx, row.UserID, func() { results <- s.importRow(finishing, req, app, mode, row, at) }) {
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

// after returns now, or the time right behind last where the clock does not tell the two apart.
func after(last, now time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(time.Nanosecond)
}

func (s *Service) importRow(ctx context.Context, req Request, app domain.AppID, mode ImportMode, row Row, at time.Time) RowResult {
	r := RowResult{Line: row.Line, UserID: row.UserID, Err: row.Err}
	if r.Err != nil {
		return r
	}
	req.ID += "/" + strconv.Itoa(row.Line)
	var cmd domain.Command
	if mode == ImportUpsert {
		cmd = domain.UpsertAccount{App: app, UserID: row.UserID, Type: row.Type, Patch: row.Patch, At: at}
	} else {
		cmd = domain.CreateAccount{App: app, UserID: row.UserID, Type: row.Type, Profile: row.Patch.Values, At: at}
	}
	r.Result, r.Err = s.observed(ctx, req, cmd)
	return r
}
