package httpapi

import (
	"context"
	"maps"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// scope tells in which application the action of an operation is taken.
type scope uint8

const (
	_          scope = iota // the zero value is refused
	inApp                   // the one that the path names
	inOwnApp                // the one that the token is bound to; the use case narrows what is seen
	inInstance              // none: for operators
	public                  // anybody may, without a token
)

// rule is what an operation declares about who may call it. The zero value
// lets nobody.
type rule struct {
	action access.Action
	scope  scope
	or     access.Action // that permits it as well; the operation narrows what is done then
}

// ruleKey is where an operation keeps its rule.
const ruleKey = "rollcall.rule"

// newAPI returns the huma API that operations are registered with. What huma
// would add by itself (pages, schema links, global error types) is left out.
func newAPI(h *Handler) huma.API {
	config := huma.DefaultConfig("Rollcall", h.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	// The second name is what huma makes of a type that ends in +json.
	config.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{h.translate}
	config.Info.Description = "Accounts of applications, with their list and exports. Every change is an event in a log."
	config.Extensions = map[string]any{"x-problems": h.codes.Meanings()}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "A token of a role, bound to an application unless it is an operator's."},
	}
	api := humago.New(h.mux, config)
	api.UseMiddleware(h.admit)
	return api
}

// register adds an operation. Its errors may be those of any use case.
func register[I, O any](h *Handler, who rule, op huma.Operation, body *huma.RequestBody, serve func(context.Context, *I) (*O, error)) {
	if op.Metadata == nil {
		op.Metadata = make(map[string]any, 1)
	}
	op.Metadata[ruleKey] = who
	op.Responses = maps.Clone(op.Responses)
	if op.Responses == nil {
		op.Responses = make(map[string]*huma.Response, 2)
	}
	op.Responses["default"] = h.problemResponse()
	if who.scope != public {
		op.Security = []map[string][]string{{"token": {}}}
	}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	// The success is described here because huma takes its absence, beside a default, for none.
	if status := strconv.Itoa(op.DefaultStatus); op.Responses[status] == nil {
		op.Responses[status] = &huma.Response{Description: http.StatusText(op.DefaultStatus)}
	}
	huma.Register(h.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := serve(ctx, in)
		if err != nil {
			return nil, h.problemOf(ctx, err)
		}
		return out, nil
	})
	// Described after it is registered, so that huma does not read and validate the body itself.
	h.described(op).RequestBody = body
}

// described returns an operation as the API's description holds it.
func (h *Handler) described(op huma.Operation) *huma.Operation {
	item := h.api.OpenAPI().Paths[op.Path]
	switch op.Method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPatch:
		return item.Patch
	default:
		return item.Delete
	}
}

// problemResponse describes the answer to a request that was not fulfilled.
func (h *Handler) problemResponse() *huma.Response {
	return &huma.Response{
		Description: "A problem, as RFC 9457 describes it. x-problems lists the codes.",
		Content:     map[string]*huma.MediaType{wire.ProblemType: {Schema: h.schemaOf(wire.Problem{})}},
	}
}
