package httpapi

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
	"rollcall/handlers/wire"
)

// Exports orders and follows exports, see export.Service.
type Exports interface {
	Order(ctx context.Context, req export.Request, spec export.Spec) (export.Job, error)
	Get(ctx context.Context, app domain.AppID, id string) (export.Job, error)
	List(ctx context.Context, app domain.AppID, limit int, after string) (jobs []export.Job, next string, err error)
	Cancel(ctx context.Context, req export.Request, app domain.AppID, id string) (export.Job, error)
	Watch(ctx context.Context, app domain.AppID, id string) iter.Seq2[export.Event, error]
	Link(ctx context.Context, j export.Job) (export.Links, error)
}

// Export is a job as JSON. What has not happened is absent.
type Export struct {
	ID          string             `json:"id"`
	App         domain.AppID       `json:"app"`
	Status      export.Status      `json:"status" enum:"queued,running,completed,failed,cancelled,expired"`
	Format      export.Format      `json:"format" enum:"csv,ndjson,xlsx,parquet"`
	Compression export.Compression `json:"compression" enum:"none,gzip,zstd"`
	Fields      []string           `json:"fields" nullable:"false"`
	UserCount   int                `json:"user_count,omitempty" doc:"How many accounts were named by user_ids"`
	Filter      *ExportFilter      `json:"filter,omitempty"`
	AsOf        uint64             `json:"as_of,omitempty" doc:"The earlier position that was asked for"`
	AsOfTime    *time.Time         `json:"as_of_time,omitempty" doc:"The time that was asked for"`
	Progress    ExportProgress     `json:"progress"`
	Position    uint64             `json:"position,omitempty" doc:"Position of the log that the file shows"`
	Rows        *int64             `json:"rows,omitempty"`
	Bytes       *int64             `json:"bytes,omitempty"`
	SHA256      string             `json:"sha256,omitempty" doc:"Of the file, in hexadecimal digits"`
	DownloadURL string             `json:"download_url,omitempty" doc:"Serves the file to whoever has it; made anew for each answer"`
	ManifestURL string             `json:"manifest_url,omitempty" doc:"Serves what describes the file, the same way"`
	URLExpires  *time.Time         `json:"download_url_expires_at,omitempty" doc:"When both URLs end"`
	ExpiresAt   *time.Time         `json:"expires_at,omitempty" doc:"When the file is removed, also one that is made again"`
	Rebuilds    int                `json:"rebuilds,omitempty" doc:"How often the file was removed because an account that it may have held was deleted, to be made again without it"`
	Error       string             `json:"error,omitempty" doc:"Why it failed or expired early"`
	ErrorCode   export.Reason      `json:"error_code,omitempty" doc:"Names the error for programs, where it has a name"`
	RequestedAt time.Time          `json:"requested_at"`
	RequestedBy string             `json:"requested_by"`
	StartedAt   *time.Time         `json:"started_at,omitempty"`
	FinishedAt  *time.Time         `json:"finished_at,omitempty"`
}

// ExportFilter tells which accounts an export holds, as in a list.
type ExportFilter struct {
	Type domain.AccountType `json:"type,omitempty"`
	Text string             `json:"q,omitempty"`
}

// ExportProgress tells how far an export has got. Total is zero until it is known, and so are the others.
type ExportProgress struct {
	Done    int64   `json:"done" doc:"Accounts that it has gone through"`
	Total   int64   `json:"total" doc:"Accounts that it goes through, about"`
	Bytes   int64   `json:"bytes,omitempty" doc:"Of the file so far"`
	PerSec  float64 `json:"rows_per_second,omitempty"`
	SecLeft float64 `json:"seconds_left,omitempty"`
}

// exportOf shows a job with a freshly minted URL of its file.
func (h *Handler) exportOf(ctx context.Context, j export.Job) Export {
	e := Export{
		ID: j.ID, App: j.App, Status: j.Status, Format: j.Spec.Format, Compression: j.Spec.Compression, UserCount: j.Spec.UserCount,
		Fields: make([]string, len(j.Spec.Fields)), Progress: ExportProgress(j.Progress), Position: j.Position, SHA256: j.SHA256, Error: j.Error, ErrorCode: j.Reason(),
		AsOf: j.Spec.AsOf.Position, AsOfTime: moment(j.Spec.AsOf.Time),
		RequestedAt: j.RequestedAt.UTC(), RequestedBy: j.RequestedBy,
		StartedAt: moment(j.StartedAt), FinishedAt: moment(j.FinishedAt), ExpiresAt: moment(j.ExpiresAt), Rebuilds: j.Rebuilds,
	}
	for i, f := range j.Spec.Fields {
		e.Fields[i] = f.String()
	}
	if f := j.Spec.Filter; !f.IsZero() {
		e.Filter = &ExportFilter{Type: f.Type, Text: f.Text}
	}
	if j.SHA256 != "" {
		e.Rows, e.Bytes = &j.Rows, &j.Bytes
	}
	links, err := h.Exports.Link(ctx, j)
	if err != nil {
		h.logger.LogAttrs(ctx, slog.LevelError, "no URL could be made for an export", slog.String("job", j.ID), slog.Any("error", err))
		return e
	}
	e.DownloadURL, e.ManifestURL, e.URLExpires = links.File, links.Manifest, moment(links.Until)
	return e
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// ExportParam names the export that a path is about.
type ExportParam struct {
	AppParam
	ID string `path:"id" doc:"The export"`
}

// check refuses an id that no export has.
func (p ExportParam) check() error { return checkID(p.ID, "export", export.CodeNotFound) }

type exportOutput struct {
	Location string `header:"Location"`
	Position uint64 `header:"Rollcall-Position" doc:"Position of the log that the file shows or, while that is not known, one that it is not older than"`
	Body     Export
}

// exportPosition returns a position of the log that an export ordered from now on is
// not older than: what the list shows. The log itself is not read here.
func (h *Handler) exportPosition(ctx context.Context, app domain.AppID) uint64 {
	_, position, _ := h.Queries.App(ctx, 0, app) // whether there is such an application is for the use case to say
	return position
}

// ExportList is one page of the exports of an application, the newest first.
type ExportList struct {
	Exports    []Export `json:"exports" nullable:"false"`
	NextCursor string   `json:"next_cursor,omitempty" doc:"Cursor of the next page, absent at the end"`
}

type exportListOutput struct{ Body ExportList }

func (h *Handler) registerExports() {
	tags := []string{"Exports"}
	const collection, item = "/v1/apps/{app}/exports", "/v1/apps/{app}/exports/{id}"
	who := rule{action: access.Export, scope: inApp}
	register(h, who, huma.Operation{
		OperationID: "create-export", Method: http.MethodPost, Path: collection, Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Order an export", Description: "Of the accounts named by user_ids, or those that filter lets through, or all. The file shows one position of the log.",
	}, h.jsonBody(exportSchema(), "application/json"), h.createExport)
	register(h, who, huma.Operation{
		OperationID: "list-exports", Method: http.MethodGet, Path: collection, Tags: tags,
		Summary: "List exports, the newest first",
	}, nil, h.listExports)
	register(h, who, huma.Operation{
		OperationID: "get-export", Method: http.MethodGet, Path: item, Tags: tags,
		Summary: "Show an export",
	}, nil, h.getExport)
	register(h, who, huma.Operation{
		OperationID: "cancel-export", Method: http.MethodDelete, Path: item, Tags: tags,
		Summary: "Cancel an export", Description: "409 export_finished when it is over.",
	}, nil, h.cancelExport)
	h.registerExportEvents(who, item+"/events", tags)
}

func exportSchema() *huma.Schema {
	field := enumSchema("", domain.AllFields.Names()...)
	return object([]string{"format"}, map[string]*huma.Schema{
		"format":      enumSchema("", export.Formats()...),
		"user_ids":    listSchema(userIDSchema(), domain.MaxSelectedIDs, "The accounts; not together with filter"),
		"filter":      object(nil, map[string]*huma.Schema{"type": enumSchema("", domain.TypeNormal, domain.TypeAdmin), "q": stringSchema("Occurs in the user id or the nickname, at most %d bytes of UTF-8", domain.MaxSearchTextBytes)}),
		"fields":      listSchema(field, len(domain.AllFields.Names()), "The columns in their order; all when left out"),
		"as_of":       momentSchema("The earlier position or time that the file shows. What was deleted since is left out"),
		"compression": enumSchema("Of csv and ndjson as a whole, of parquet within; xlsx takes none alone", export.Compressions()...),
	})
}

// exportRequest is who orders or cancels an export.
func (c *call) exportRequest() (export.Request, error) {
	req, err := c.order(min(command.MaxCommandIDBytes, export.MaxRequestIDBytes))
	return export.Request{ID: req.ID, Actor: req.Actor, CorrelationID: req.CorrelationID, TraceParent: req.TraceParent}, err
}

func (h *Handler) createExport(ctx context.Context, in *struct {
	AppParam
	WriteParams
}) (*exportOutput, error) {
	c := callOf(ctx)
	req, err := c.exportRequest()
	if err != nil {
		return nil, err
	}
	b, err := c.readBody(maxListBody)
	if err != nil {
		return nil, err
	}
	spec, err := wire.DecodeExport(in.App, b)
	if err != nil {
		return nil, err
	}
	position := h.exportPosition(ctx, in.App)
	job, err := h.Exports.Order(ctx, req, spec)
	if err != nil {
		return nil, h.exportError(ctx, err, wire.CodeOutcomeUnknown, "the export may or may not have been ordered; repeat the order with the same Idempotency-Key to find out")
	}
	if job.Status != export.StatusQueued {
		position = job.Position // it was ordered before, under the same key
	}
	return &exportOutput{Location: "/v1/apps/" + string(in.App) + "/exports/" + job.ID, Position: position, Body: h.exportOf(ctx, job)}, nil
}

func (h *Handler) listExports(ctx context.Context, in *struct {
	AppParam
	ReadParams
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Exports on a page"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}) (*exportListOutput, error) {
	if _, _, err := h.Queries.App(ctx, in.MinPosition, in.App); err != nil {
		return nil, err
	}
	jobs, next, err := h.Exports.List(ctx, in.App, in.Limit, in.Cursor)
	if errors.Is(err, export.CodeInvalidCursor) {
		return nil, badCursor(err)
	}
	if err != nil {
		return nil, h.exportError(ctx, err, wire.CodeUnavailable, "the exports are not known yet; read again in a moment")
	}
	out := ExportList{Exports: make([]Export, len(jobs)), NextCursor: next}
	for i, j := range jobs {
		out.Exports[i] = h.exportOf(ctx, j)
	}
	return &exportListOutput{out}, nil
}

// badCursor names the parameter of a cursor that the list did not give.
func badCursor(err error) error {
	r, ok := errors.AsType[*domain.Rejection](err)
	if !ok || len(r.Fields) > 0 {
		return err
	}
	return &domain.Rejection{Code: r.Code, Detail: r.Detail, Fields: []domain.FieldError{{Field: "cursor", Code: r.Code, Detail: r.Detail}}}
}

func (h *Handler) getExport(ctx context.Context, in *struct {
	ExportParam
	ReadParams
}) (*struct{ Body Export }, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.MinPosition > 0 {
		if _, _, err := h.Queries.App(ctx, in.MinPosition, in.App); err != nil {
			return nil, err
		}
	}
	job, err := h.Exports.Get(ctx, in.App, in.ID)
	if err != nil {
		return nil, h.exportError(ctx, err, wire.CodeUnavailable, "the export cannot be read; read again in a moment")
	}
	return &struct{ Body Export }{h.exportOf(ctx, job)}, nil
}

type exportCancelOutput struct {
	Position uint64 `header:"Rollcall-Position" doc:"Position of the log that the answer is given at"`
	Body     Export
}

func (h *Handler) cancelExport(ctx context.Context, in *struct {
	ExportParam
	WriteParams
}) (*exportCancelOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	req, err := callOf(ctx).exportRequest()
	if err != nil {
		return nil, err
	}
	position := h.exportPosition(ctx, in.App)
	job, err := h.Exports.Cancel(ctx, req, in.App, in.ID)
	if err != nil {
		return nil, h.exportError(ctx, err, wire.CodeOutcomeUnknown, "the export may or may not have been cancelled; repeat the request to find out")
	}
	return &exportCancelOutput{Position: cmp.Or(job.Position, position), Body: h.exportOf(ctx, job)}, nil
}

// exportError answers a fault of what exports are kept in.
func (h *Handler) exportError(ctx context.Context, err error, code domain.Code, detail string) error {
	var r *domain.Rejection
	if errors.As(err, &r) || ctx.Err() != nil {
		return err
	}
	h.logger.LogAttrs(ctx, slog.LevelError, "exports failed", slog.Any("error", err))
	return wire.Refuse(code, "%s", detail)
}
