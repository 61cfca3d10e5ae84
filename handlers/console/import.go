package console

import (
	"net/http"

	"rollcall/domain"
)

// importBody is what the page that imports a file shows.
type importBody struct {
	Fields []string // that a file may name
}

// importPage lets its visitor choose a file. The file does not come here: the page's modules give it to the API in pieces.
func (h *Handler) importPage(v *visit) error {
	app, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	return v.render(http.StatusOK, "import", view{
		Title: title(app) + " · " + v.text("import.title"), App: &app, Tab: "accounts", Body: importBody{Fields: domain.AllFields.Names()},
		Entry: "import.js", Load: []string{"import-file.js", "import-run.js", "import-report.js", "import-text.js"},
	})
}
