package httpapi

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path"
	"time"

	"rollcall/handlers/wire"
)

const (
	docsPath    = wire.DocsPath
	openAPIPath = "/openapi.json"
)

// The page that shows the API needs nothing from anywhere else.
//
//go:embed docs
var docs embed.FS

// docsPolicy lets the page load its own script and style, read the API's
// description, and nothing more.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountDocs serves the API's description, which is complete once all
// operations are registered, and the page that shows it.
func (h *Handler) mountDocs() error {
	// huma describes errors by a type of its own for every operation; ours replaces it.
	delete(h.api.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	description, err := json.MarshalIndent(h.api.OpenAPI(), "", "  ")
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	h.mux.Handle("GET "+openAPIPath, static("openapi.json", "application/openapi+json", description))
	for pattern, name := range map[string]string{
		"GET " + docsPath:                "docs.html",
		"GET " + docsPath + "/docs.js":   "docs.js",
		"GET " + docsPath + "/style.css": "style.css",
	} {
		content, err := docs.ReadFile("docs/" + name)
		if err != nil {
			return fmt.Errorf("embed the documentation: %w", err)
		}
		h.mux.Handle(pattern, static(name, mime.TypeByExtension(path.Ext(name)), content))
	}
	return nil
}

// static serves bytes that do not change while the service runs.
func static(name, contentType string, content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Security-Policy", docsPolicy)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
