package console

import (
	"context"
	"fmt"
	"math"
	"net/http"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// Exports lists jobs, see export.Service.
type Exports interface {
	List(ctx context.Context, app domain.AppID, limit int, cursor string) (jobs []export.Job, next string, err error)
	Latest(app domain.AppID) uint64
	Changed(ctx context.Context, app domain.AppID, behind uint64) (uint64, error)
	Unfinished(limit int) []export.Job
}

// jobsAtOnce is how many exports a page has.
const jobsAtOnce = 50

// exportsBody is what the page of exports shows, the newest first.
type exportsBody struct {
	Jobs []export.Job
	Next string // cursor of the page behind this one
	// Position is where the jobs stand among events of exports, from which on changes are followed.
	Position uint64
}

func (h *Handler) exportsPage(v *visit) error {
	app, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	body, err := h.jobs(v)
	if err != nil {
		return err
	}
	return v.render(http.StatusOK, "exports", view{
		Title: title(app) + " · " + v.text("exports.title"), App: &app, Tab: "exports", Body: body,
		Entry: "exports.js", Load: []string{"dialog.js", "export.js", "follow.js"},
	})
}

// exportRows answers with the jobs as they are now.
func (h *Handler) exportRows(v *visit) error {
	body, err := h.jobs(v)
	if err != nil {
		return err
	}
	return v.renderPart("exports", "jobs", view{Body: body})
}

func (h *Handler) jobs(v *visit) (body exportsBody, err error) {
	body.Position = h.Exports.Latest(v.app()) // first, so that what happens meanwhile is told
	body.Jobs, body.Next, err = h.Exports.List(v.r.Context(), v.app(), jobsAtOnce, v.r.URL.Query().Get("cursor"))
	return body, err
}

// exportsLive tells that exports of an application have changed behind a position: which, and how, is asked for.
func (h *Handler) exportsLive(v *visit) error {
	from, err := startOf(v.r)
	if err != nil {
		return err
	}
	return h.stream(v, func(ctx context.Context, s *stream) error {
		read := func(ctx context.Context) (at uint64, err error) {
			if at, err = h.Exports.Changed(ctx, v.app(), from); err == nil {
				from = at
			}
			return at, err
		}
		return relay(ctx, s, read, &moved{})
	})
}

// moved is a position that something has moved to. The zero value is none.
type moved struct{ to uint64 }

func (m *moved) add(to uint64) { m.to = to }
func (m *moved) any() bool     { return m.to > 0 }
func (m *moved) take() news {
	n := news{Position: m.to}
	m.to = 0
	return n
}

// newExport is what the dialog that orders an export shows.
type newExport struct{ Fields []string }

func (h *Handler) newExportDialog(v *visit) error {
	var form newExport
	for f := range domain.AllFields.All() {
		form.Fields = append(form.Fields, f.String())
	}
	return v.renderPart("export", "dialog", view{Body: form})
}

func (h *Handler) cancelExportDialog(v *visit) error {
	return v.renderPart("exportcancel", "dialog", view{})
}

// jobView is a job with what templates ask of it.
type jobView struct{ export.Job }

// Live tells whether the job changes by itself.
func (j jobView) Live() bool { return !j.Status.Finished() }

// Filtered tells whether a filter chose the accounts of the file.
func (j jobView) Filtered() bool {
	return j.Spec.UserCount == 0 && (!j.Spec.Filter.IsZero() || j.Searches())
}

// Version changes whenever what is shown of the job changes.
func (j jobView) Version() string { return fmt.Sprint(j.Status, j.Progress, j.Error, j.SHA256) }

// Why is the message that says why it failed or expired; nothing where only its error does.
func (j jobView) Why() string {
	if r := j.Reason(); r != "" {
		return whyKey(r)
	}
	return ""
}

func whyKey(r export.Reason) string { return "exports.why_" + string(r) }

// Done, Total, RowCount and Left are figures as the language writes them.
func (j jobView) Done() int     { return int(j.Progress.Done) }
func (j jobView) Total() int    { return int(j.Progress.Total) }
func (j jobView) RowCount() int { return int(j.Rows) }
func (j jobView) Rate() int     { return int(j.Progress.PerSec) }

// Left is the time that the work still takes, in whole seconds.
func (j jobView) Left() int { return int(math.Ceil(j.Progress.SecLeft)) }

// Size is the size of the file.
func (j jobView) Size() string { return size(j.Bytes) }

// size writes bytes as people read them.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < len("KMGTP")-1 {
		value, prefix = value/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}

// Views returns the jobs as templates show them.
func (b exportsBody) Views() []jobView {
	all := make([]jobView, len(b.Jobs))
	for i, j := range b.Jobs {
		all[i] = jobView{j}
	}
	return all
}
