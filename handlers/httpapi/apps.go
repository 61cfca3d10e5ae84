package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// App is an application as JSON.
type App struct {
	App       domain.AppID `json:"app" doc:"Name of the application: 1 to 32 of a-z, 0-9 and -, not starting with -"`
	Name      string       `json:"name" doc:"For people"`
	MaxAdmins int          `json:"max_admins" doc:"How many accounts of type admin it may have"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
	Revision  uint64       `json:"revision" doc:"Position of the application's latest event"`
}

func appOf(a domain.App) App {
	return App{
		App: a.ID, Name: a.Name, MaxAdmins: a.MaxAdmins,
		CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(), Revision: a.Revision,
	}
}

// WriteHeaders holds the headers of every answer to a write.
type WriteHeaders struct {
	Position uint64 `header:"Rollcall-Position" doc:"Position from which on reads show the change; give it as min_position"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the command had been executed before under the same Idempotency-Key"`
}

// wrote notes a result for the reads that follow.
func (h *Handler) wrote(res command.Result) WriteHeaders {
	h.Queries.Wrote(res.Position)
	w := WriteHeaders{Position: res.Position}
	if res.Replayed {
		w.Replayed = "true"
	}
	return w
}

// WriteParams documents the header that every write takes. It is read in call.order. The scope of
// an Idempotency-Key is one account or, for a write about no single account, one
// application: the same key elsewhere is another command.
type WriteParams struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"Id of the command, at most 64 visible ASCII characters. A command that is given again under its id is not executed again. Its scope is one account, or the application where the command is about no single account."`
}

// ReadParams is what every read takes.
type ReadParams struct {
	MinPosition uint64 `query:"min_position" doc:"Position that the answer must at least show; 503 not_caught_up when it is not reached in time"`
}

// UnusedReadParams is what a read takes that has nothing to wait for, so that a
// client may give min_position to every read.
type UnusedReadParams struct {
	MinPosition uint64 `query:"min_position" doc:"Taken, as every read takes it, without effect: nothing here waits for a position of the log"`
}

// AppParam names the application that a path is about.
type AppParam struct {
	App domain.AppID `path:"app" doc:"The application"`
}

type appOutput struct {
	WriteHeaders
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     App
}

type appReadOutput struct {
	Position uint64 `header:"Rollcall-Position"`
	ETag     string `header:"ETag"`
	Body     App
}

// AppList is the applications that a token may see.
type AppList struct {
	Apps     []App  `json:"apps" nullable:"false"`
	Position uint64 `json:"position" doc:"Position of the log that the list shows"`
}

type appListOutput struct{ Body AppList }

func (h *Handler) registerApps() {
	tags := []string{"Applications"}
	register(h, rule{action: access.ManageApps, scope: inInstance}, huma.Operation{
		OperationID: "create-app", Method: http.MethodPost, Path: "/v1/apps", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create an application",
	}, h.jsonBody(appSchema("app"), "application/json"), h.createApp)
	register(h, rule{action: access.ReadApps, scope: inOwnApp}, huma.Operation{
		OperationID: "list-apps", Method: http.MethodGet, Path: "/v1/apps", Tags: tags,
		Summary: "List the applications that the token may see",
	}, nil, h.listApps)
	register(h, rule{action: access.ReadApps, scope: inApp}, huma.Operation{
		OperationID: "get-app", Method: http.MethodGet, Path: "/v1/apps/{app}", Tags: tags,
		Summary: "Show an application",
	}, nil, h.getApp)
	register(h, rule{action: access.ManageApps, scope: inApp}, huma.Operation{
		OperationID: "edit-app", Method: http.MethodPatch, Path: "/v1/apps/{app}", Tags: tags,
		Summary: "Edit an application", Description: "The body is a JSON merge patch (RFC 7396).",
	}, h.jsonBody(appSchema(), mergePatchType, "application/json"), h.editApp)
}

func (h *Handler) createApp(ctx context.Context, _ *WriteParams) (*appOutput, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody)
	if err != nil {
		return nil, err
	}
	var cmd domain.CreateApp
	err = wire.DecodeObject(b, "the application", map[string]wire.Setter{
		"app": wire.SetString(&cmd.App), "name": wire.SetString(&cmd.Name), "max_admins": wire.SetInt(&cmd.MaxAdmins),
	})
	if err != nil {
		return nil, err
	}
	res, err := h.Commands.Execute(ctx, req, cmd)
	if err != nil {
		return nil, err
	}
	return &appOutput{
		WriteHeaders: h.wrote(res), ETag: etag(res.App.Revision), Location: "/v1/apps/" + string(res.App.ID), Body: appOf(res.App),
	}, nil
}

func (h *Handler) editApp(ctx context.Context, in *struct {
	AppParam
	WriteParams
}) (*appOutput, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody, mergePatchType)
	if err != nil {
		return nil, err
	}
	cmd := domain.EditApp{App: in.App}
	if err := decodeAppEdit(b, &cmd); err != nil {
		return nil, err
	}
	res, err := h.Commands.Execute(ctx, req, cmd)
	if err != nil {
		return nil, err
	}
	return &appOutput{WriteHeaders: h.wrote(res), ETag: etag(res.App.Revision), Body: appOf(res.App)}, nil
}

// decodeAppEdit reads a merge patch, in which null stands for what an application has
// that says nothing.
func decodeAppEdit(b []byte, cmd *domain.EditApp) error {
	setters := map[string]wire.Setter{
		"name": func(value []byte) error {
			var name string
			cmd.Name = &name
			return wire.SetString(&name)(value)
		},
		"max_admins": func(value []byte) error {
			limit := domain.DefaultMaxAdmins
			cmd.MaxAdmins = &limit
			return wire.SetInt(&cmd.MaxAdmins)(value)
		},
	}
	for _, fixed := range []string{"app", "created_at", "updated_at", "revision"} {
		setters[fixed] = wire.Refused(fixed, domain.CodeImmutable, "cannot be changed")
	}
	err := wire.DecodeObject(b, "the edit", setters)
	var r *domain.Rejection
	if errors.As(err, &r) && len(r.Fields) > 0 && r.Fields[0].Code == domain.CodeImmutable {
		r.Code = domain.CodeImmutable
	}
	return err
}

func (h *Handler) getApp(ctx context.Context, in *struct {
	AppParam
	ReadParams
}) (*appReadOutput, error) {
	a, position, err := h.Queries.App(ctx, in.MinPosition, in.App)
	if err != nil {
		return nil, err
	}
	return &appReadOutput{Position: position, ETag: etag(a.Revision), Body: appOf(a)}, nil
}

func (h *Handler) listApps(ctx context.Context, in *ReadParams) (*appListOutput, error) {
	apps, position, err := h.visibleApps(ctx, in.MinPosition)
	if err != nil {
		return nil, err
	}
	out := AppList{Apps: make([]App, 0, len(apps)), Position: position}
	for _, a := range apps {
		out.Apps = append(out.Apps, appOf(a))
	}
	return &appListOutput{out}, nil
}

// visibleApps returns the applications that the token may see: all, or the
// one that it is bound to.
func (h *Handler) visibleApps(ctx context.Context, minimum uint64) ([]domain.App, uint64, error) {
	bound := callOf(ctx).principal.App
	if bound == "" {
		return h.Queries.Apps(ctx, minimum)
	}
	a, position, err := h.Queries.App(ctx, minimum, domain.AppID(bound))
	if errors.Is(err, domain.CodeAppNotFound) {
		return nil, position, nil
	}
	return []domain.App{a}, position, err
}
