package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

const (
	ndjsonType = "application/x-ndjson"
	csvType    = "text/csv"
)

// ImportResult is what became of one row, one line of the answer.
type ImportResult struct {
	Line     int               `json:"line" doc:"Where the row stands in the body, from 1"`
	UserID   string            `json:"user_id,omitempty"`
	Status   string            `json:"status" enum:"created,edited,unchanged,failed"`
	Position uint64            `json:"position,omitempty"`
	Code     domain.Code       `json:"code,omitempty" doc:"Why it failed, as in a problem"`
	Detail   string            `json:"detail,omitempty"`
	Errors   []wire.FieldError `json:"errors,omitempty"`
}

// ImportSummary is the last line of the answer.
type ImportSummary struct {
	Done      bool        `json:"done" doc:"Every row of the body has a result; if false, code tells why not"`
	Rows      int         `json:"rows"`
	Created   int         `json:"created"`
	Edited    int         `json:"edited"`
	Unchanged int         `json:"unchanged"`
	Failed    int         `json:"failed"`
	Position  uint64      `json:"position" doc:"The highest position of the import"`
	Code      domain.Code `json:"code,omitempty"`
	Detail    string      `json:"detail,omitempty"`
}

type importInput struct {
	AppParam
	WriteParams
	Mode command.ImportMode `query:"mode" enum:"create,upsert" default:"create" doc:"What is done with an account that exists: create refuses the row, upsert edits the account"`
}

type streamOutput struct {
	Body func(huma.Context)
}

func (h *Handler) registerImport() {
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	register(h, rule{action: access.WriteAccounts, scope: inApp}, huma.Operation{
		OperationID: "import-accounts", Method: http.MethodPost, Path: "/v1/apps/{app}/accounts:import", Tags: []string{"Accounts"},
		Summary: "Import accounts",
		Description: "The body, of any length, has a row an account: a JSON object a line, or a CSV table whose first line names the fields. " +
			"The answer has a line for each row as soon as it is decided, in any order, and a summary at the end. Fields that Rollcall gives are passed over, " +
			"so that an export can be imported. A row has at most 64 KiB. An import that is given again under the same key executes no row twice.",
		Responses: map[string]*huma.Response{"200": {
			Description: "A line a row, then a summary",
			Content: map[string]*huma.MediaType{ndjsonType: {Schema: &huma.Schema{
				OneOf: []*huma.Schema{h.schemaOf(ImportResult{}), h.schemaOf(ImportSummary{})},
			}}},
		}},
	}, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{ndjsonType: text, csvType: text}}, h.importAccounts)
}

func (h *Handler) importAccounts(ctx context.Context, in *importInput) (*streamOutput, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	kind, err := c.mediaType(ndjsonType, "application/jsonl", "application/ndjson", csvType)
	if err != nil {
		return nil, err
	}
	if err := c.checkApp(ctx, in.App); err != nil {
		return nil, err
	}
	im := newImporter(h, c)
	if kind == csvType {
		if im.rows, err = newCSVReader(im.body); err != nil {
			im.end()
			return nil, im.bodyError(err)
		}
	} else {
		im.rows = newNDJSONReader(im.body)
	}
	return &streamOutput{Body: func(huma.Context) { im.run(req, in.App, in.Mode) }}, nil
}

// importer is one import on its way. Its rows are read and its results written
// at the same time.
type importer struct {
	handler *Handler
	call    *call
	control *http.ResponseController
	body    io.Reader
	rows    rowReader
	spool   *spool
	readErr error // why reading ended early; set before rows end

	ctx    context.Context // ends with the request, with Drain, or when nobody reads the answer
	cancel context.CancelCauseFunc
	undo   func()

	summary ImportSummary
	line    bytes.Buffer
	encoder *json.Encoder
}

var errStopping = errors.New("the service is stopping")

func newImporter(h *Handler, c *call) *importer {
	im := &importer{handler: h, call: c, control: http.NewResponseController(c.writer), spool: newSpool()}
	im.ctx, im.cancel = context.WithCancelCause(c.request.Context())
	undrain := context.AfterFunc(h.draining, func() { im.cancel(errStopping) })
	// A read that waits for the client is woken. The connection is not touched any more once the import has ended.
	woken := make(chan struct{})
	sleep := context.AfterFunc(im.ctx, func() {
		defer close(woken)
		_ = im.control.SetReadDeadline(time.Unix(1, 0))
	})
	im.undo = func() {
		undrain()
		if !sleep() {
			<-woken
		}
	}
	im.body = &patientReader{im}
	im.encoder = json.NewEncoder(&im.line)
	im.encoder.SetEscapeHTML(false)
	return im
}

// end frees what the import holds. The connection may serve another request.
func (im *importer) end() {
	im.undo()
	im.cancel(nil)
	_ = im.control.SetReadDeadline(time.Time{})
	_ = im.control.SetWriteDeadline(time.Time{})
	if err := im.spool.remove(); err != nil {
		im.handler.logger.Warn("a temporary file of an import is left behind", "error", err)
	}
}

// patientReader reads a body of any length, as long as something arrives.
type patientReader struct{ im *importer }

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.im.control.SetReadDeadline(time.Now().Add(p.im.handler.BodyTimeout))
	// After the deadline, so that one set to wake this read is not undone.
	if err := context.Cause(p.im.ctx); err != nil {
		return 0, err
	}
	n, err := p.im.call.request.Body.Read(b)
	if cause := context.Cause(p.im.ctx); err != nil && !errors.Is(err, io.EOF) && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause // that is why the read was woken
	}
	return n, err
}

// run executes the rows and answers.
func (im *importer) run(req command.Request, app domain.AppID, mode command.ImportMode) {
	streaming(im.call.writer, true)
	_ = im.control.EnableFullDuplex() // HTTP/2 is so anyway
	im.call.writer.Header().Set("Content-Type", ndjsonType)
	im.call.writer.WriteHeader(http.StatusOK)
	_ = im.control.Flush()

	var sender sync.WaitGroup
	sender.Go(func() {
		if err := im.spool.run(im.send); err != nil {
			im.cancel(err)
		}
	})
	defer im.end()
	defer im.linger()
	defer sender.Wait()
	defer func() {
		im.spool.close()
		_ = im.control.SetWriteDeadline(time.Now().Add(im.handler.BodyTimeout))
	}()
	// A command in flight is finished whatever becomes of the client.
	err := im.handler.Commands.Import(context.WithoutCancel(im.ctx), req, app, mode, im.sequence(), im.emit)
	im.summarize(err)
}

// lingerTime is how long a client that is still sending has to read why its import was broken off.
const lingerTime = time.Second

// linger waits before the connection is closed on a client that is still sending: what it
// sends then resets the connection, and with it the answer that it has not read yet (RFC 9112,
// section 9.6).
func (im *importer) linger() {
	if !errors.Is(im.readErr, errStopping) {
		return
	}
	select {
	case <-time.After(lingerTime):
	case <-im.call.request.Context().Done():
	}
}

// send gives the client what is written. While the body is read it may take its
// time: the client may want to send all of it first.
func (im *importer) send(b []byte) error {
	if im.spool.isClosed() {
		_ = im.control.SetWriteDeadline(time.Now().Add(im.handler.BodyTimeout))
	}
	if _, err := im.call.writer.Write(b); err != nil {
		return err
	}
	if err := im.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// sequence yields the rows of the body.
func (im *importer) sequence() iter.Seq[command.Row] {
	return func(yield func(command.Row) bool) {
		for {
			if im.readErr = context.Cause(im.ctx); im.readErr != nil {
				return
			}
			row, err := im.next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					im.readErr = err
				}
				return
			}
			if !yield(row) {
				return
			}
		}
	}
}

// next reads a row. It runs in a goroutine of the use case.
func (im *importer) next() (row command.Row, err error) {
	err = recovering(func() error {
		row, err = im.rows.next()
		return err
	})
	return row, err
}

// emit writes the result of a row.
func (im *importer) emit(r command.RowResult) error {
	out := ImportResult{Line: r.Line, UserID: wire.PublicName(string(r.UserID)), Position: r.Result.Position}
	s := &im.summary
	s.Rows++
	switch {
	case r.Err != nil:
		s.Failed++
		p := im.handler.problemOf(im.ctx, r.Err)
		out.Status, out.Position, out.Code, out.Detail, out.Errors = "failed", 0, p.Code, p.Detail, p.Errors
	case r.Result.Created:
		s.Created++
		out.Status = "created"
	case r.Result.Changed:
		s.Edited++
		out.Status = "edited"
	default:
		s.Unchanged++
		out.Status = "unchanged"
	}
	if out.Position > s.Position {
		s.Position = out.Position
		im.handler.Queries.Wrote(out.Position)
	}
	return im.write(out)
}

func (im *importer) write(v any) error {
	im.line.Reset()
	if err := im.encoder.Encode(v); err != nil {
		return err
	}
	_, err := im.spool.Write(im.line.Bytes())
	return err
}

// summarize writes the last line.
func (im *importer) summarize(err error) {
	if err == nil {
		err = im.readErr
	}
	im.summary.Done = err == nil
	if err != nil {
		p := im.handler.problemOf(im.ctx, im.bodyError(err))
		im.summary.Code, im.summary.Detail = p.Code, p.Detail
	}
	if err := im.write(im.summary); err != nil {
		im.handler.logger.LogAttrs(im.ctx, slog.LevelInfo, "the client of an import did not read its answer", slog.Any("error", err))
	}
}

// bodyError tells why the rows ended before the body did.
func (im *importer) bodyError(err error) error {
	var r *domain.Rejection
	var network net.Error
	switch {
	case errors.As(err, &r):
		return err
	case errors.Is(err, errStopping):
		return wire.Refuse(wire.CodeStopping, "the service is stopping and takes no more rows; send the same body with the same Idempotency-Key again")
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return im.call.bodyError(err)
	}
	return err
}
