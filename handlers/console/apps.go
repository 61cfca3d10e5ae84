package console

import (
	"errors"
	"net/http"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"

	"rollcall/domain"
	"rollcall/handlers/access"
)

// maxCounted bounds the applications whose accounts are counted for their cards.
const maxCounted = 100

// appCard is an application as the page of all shows it.
type appCard struct {
	App      domain.App
	Counted  bool // the numbers below are known
	Accounts int
	Admins   int
}

type appsBody struct {
	Cards  []appCard
	Create bool
}

// appsPage shows the applications that the visitor may see, in the order of the language.
func (h *Handler) appsPage(v *visit) error {
	minimum, err := v.minimum()
	if err != nil {
		return err
	}
	apps, err := h.visibleApps(v, minimum)
	if err != nil {
		return err
	}
	collate.New(language.Make(v.language.Tag), collate.Numeric).Sort(byName(apps))
	cards := make([]appCard, len(apps))
	for i, a := range apps {
		cards[i].App = a
		if i >= maxCounted || !v.who.May(access.ReadAccounts, string(a.ID)) {
			continue
		}
		if cards[i].Accounts, cards[i].Admins, err = h.count(v, a.ID); err != nil {
			return err
		}
		cards[i].Counted = true
	}
	return v.render(http.StatusOK, "apps", view{
		Title: v.text("apps.title"), Entry: "apps.js", Load: []string{"dialog.js", "form.js"},
		Body: appsBody{Cards: cards, Create: v.who.May(access.ManageApps, "")},
	})
}

// visibleApps returns all applications, or the one that the token is bound to.
func (h *Handler) visibleApps(v *visit, minimum uint64) ([]domain.App, error) {
	if v.who.App == "" {
		apps, _, err := h.Queries.Apps(v.r.Context(), minimum)
		return apps, err
	}
	a, _, err := h.Queries.App(v.r.Context(), minimum, domain.AppID(v.who.App))
	if errors.Is(err, domain.CodeAppNotFound) {
		return nil, nil
	}
	return []domain.App{a}, err
}

// count returns how many accounts an application has, and how many of them are administrators.
func (h *Handler) count(v *visit, app domain.AppID) (accounts, admins int, err error) {
	all, err := h.Queries.List(v.r.Context(), 0, domain.Listing{App: app, Limit: 1})
	if err != nil {
		return 0, 0, err
	}
	some, err := h.Queries.List(v.r.Context(), 0, domain.Listing{App: app, Limit: 1, Filter: domain.Filter{Type: domain.TypeAdmin}})
	return all.Total, some.Total, err
}

// byName lets applications be sorted by what people call them.
type byName []domain.App

func (a byName) Len() int           { return len(a) }
func (a byName) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a byName) Bytes(i int) []byte { return []byte(title(a[i])) }

// title returns what people call an application.
func title(a domain.App) string {
	if a.Name == "" {
		return string(a.ID)
	}
	return a.Name
}

// appHome leads to the first page of an application.
func (h *Handler) appHome(v *visit) error {
	page := "/accounts"
	switch {
	case v.may(access.ReadAccounts), v.may(access.WriteAccounts):
	case v.may(access.Export):
		page = "/exports"
	case v.may(access.Audit):
		page = "/audit"
	}
	http.Redirect(v.w, v.r, homePath+"apps/"+string(v.app())+page, http.StatusSeeOther)
	return nil
}

// appForm is an application as the dialog that creates or edits one shows it.
type appForm struct {
	New       bool
	App       domain.App
	Highest   int
	NameBytes int
}

func (h *Handler) newAppDialog(v *visit) error {
	form := appForm{New: true, App: domain.App{MaxAdmins: domain.DefaultMaxAdmins}, Highest: domain.HighestMaxAdmins, NameBytes: domain.MaxAppNameBytes}
	return v.renderPart("appdialog", "dialog", view{Body: form})
}

func (h *Handler) appDialog(v *visit) error {
	a, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	return v.renderPart("appdialog", "dialog", view{Body: appForm{App: a, Highest: domain.HighestMaxAdmins, NameBytes: domain.MaxAppNameBytes}})
}
