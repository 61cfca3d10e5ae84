package consoletest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
)

// rowIDs is the ids that the list shows, as an expression.
const rowIDs = `[...document.querySelectorAll("#rows tr[data-id]")].map((tr) => tr.dataset.id).join(" ")`

// openList signs in and opens the accounts of an application, with changes followed.
func (p *page) openList(app string) {
	p.Helper()
	p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/accounts")
	p.until("the list is live", `document.querySelector("#live-state")?.checkVisibility()`)
}

func TestAnApplicationIsCreatedAndItsSettingsChanged(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 422", "status of 409")
		app := "made-" + p.language.Tag
		p.signIn(shared.service.OperatorToken(), "/console/")
		p.press("n")
		p.fill("#f-app", "Not Good")
		p.click(".dialog-foot .primary")
		p.untilText(`[data-fault="app"]`, p.text("fault.app.invalid_value"))
		p.accessible("a refused application")
		p.fill("#f-app", app)
		p.fill("#f-name", "새 앱 <b>")
		p.fill("#f-max_admins", "4")
		p.click(".dialog-foot .primary")
		p.untilText("h2", "새 앱 <b>")
		p.click(`[data-settings="` + app + `"]`)
		p.fill("#f-max_admins", "5000")
		p.click(".dialog-foot .primary")
		p.untilText(`[data-fault="max_admins"]`, p.text("fault.max_admins.invalid_value"))
		p.fill("#f-name", "Renamed "+p.language.Tag)
		p.fill("#f-max_admins", "7")
		p.click(".dialog-foot .primary")
		p.untilText("h2", "Renamed "+p.language.Tag)
		if a := shared.call(t, http.MethodGet, "/v1/apps/"+app, nil); a["max_admins"] != 7.0 {
			t.Errorf("the application is %v", a)
		}
		p.click(".app-card h2 a[href$='" + app + "']")
		p.untilText(".empty h2", p.text("list.none"))
		p.accessible("an empty list")
	})
}

func TestTheListIsSearchedFilteredSortedAndPaged(t *testing.T) {
	app := shared.newApp(t, "List")
	shared.fill(t, app, 120)
	shared.create(t, app, account{"user_id": "chief", "nickname": "Ada", "type": "admin"})
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.openList(app)
		p.untilText("#total", "121")
		p.untilText("#range", p.text("list.range", "from", 1, "to", 50, "total", 121))
		p.click("#next")
		p.untilText("#range", p.text("list.range", "from", 51, "to", 100, "total", 121))
		p.press("]")
		p.untilText("#range", p.text("list.range", "from", 101, "to", 121, "total", 121))
		p.until("there is no further page", `document.querySelector("#next").disabled`)
		p.press("[")
		p.untilText("#range", p.text("list.range", "from", 51, "to", 100, "total", 121))
		p.do(`history.back()`)
		p.untilText("#range", p.text("list.range", "from", 101, "to", 121, "total", 121))
		p.click(`[data-sort="user_id"]`)
		p.until("sorted by id", rowIDs+`.startsWith("chief p0000000 p0000001 ")`)
		p.click(`[data-sort="user_id"]`)
		p.until("sorted the other way", rowIDs+`.startsWith("p0000119 p0000118 ") && document.querySelector("th.id").ariaSort === "descending"`)
		p.press("/")
		p.press("PERSON 77")
		p.until("the search shows what it finds", rowIDs+` === "p0000077"`)
		p.untilText("#total", "1")
		p.until("the address has the search", `new URLSearchParams(location.search).get("q") === "PERSON 77"`)
		p.press("\x1b")
		p.untilText("#total", "121")
		p.do(`document.querySelector("[name=type][value=admin]").click()`)
		p.until("only administrators are shown", rowIDs+` === "chief"`)
		p.goTo(p.get(`location.pathname + location.search`))
		p.until("the address shows the same again", rowIDs+` === "chief" && document.querySelector("[name=type][value=admin]").checked`)
		p.fill("#search", "nobody at all")
		p.untilText(".empty h2", p.text("list.no_match"))
		p.accessible("a search without result")
		p.click(`[data-act="clear"]`)
		p.untilText("#total", "121")
		p.do(`(() => { const s = document.querySelector("[name=limit]"); s.value = "200"; s.dispatchEvent(new Event("change", { bubbles: true })); })()`)
		p.untilText("#range", p.text("list.range", "from", 1, "to", 121, "total", 121))
	})
}

func TestASelectionLastsAcrossPagesAndSearches(t *testing.T) {
	app := shared.newApp(t, "Selection")
	shared.fill(t, app, 60)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.openList(app)
		p.press("j")
		p.press("x")
		p.untilText("#selection-count", p.text("selection.count", "n", 1))
		p.click("#pick-page + span")
		p.untilText("#selection-count", p.text("selection.count", "n", 50))
		p.click("#next")
		p.until("the last ten are shown", `document.querySelectorAll("#rows tr[data-id]").length === 10`)
		p.click("#pick-page + span")
		p.untilText("#selection-count", p.text("selection.count", "n", 60))
		p.fill("#search", "p0000001")
		p.until("what was found is still selected", rowIDs+` === "p0000001" && document.querySelector("#rows .pick input").checked`)
		p.accessible("a selection")
		p.shot("selection")
		p.click("#clear-selection")
		p.until("nothing is selected", `document.querySelector("#selection").hidden && !document.querySelector("#rows .pick input").checked`)
	})
}

func TestAnAccountIsCreatedAndErrorsStandBesideTheirFields(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Create") // for nobody else, whose accounts would be news
		p.expect("status of 422", "status of 409", "https://img.invalid/")
		id := "new/" + p.language.Tag
		p.openList(app)
		p.press("n")
		p.untilText("#seats", p.text("create.seats", "taken", shared.admins(t, app), "limit", 3))
		p.fill("#f-user_id", "with space")
		p.fill("#f-face_url", "javascript:alert(1)")
		p.fill("#f-nickname", strings.Repeat("한", 167))
		p.untilText(`[data-count-of="f-nickname"]`, "501 / 500")
		p.click(".dialog-foot .primary")
		p.untilText(`[data-fault="user_id"]`, p.text("fault.user_id.invalid_value"))
		p.untilText(`[data-fault="face_url"]`, p.text("fault.face_url.invalid_value"))
		p.untilText(`[data-fault="nickname"]`, p.text("fault.too_long"))
		p.until("the first bad field has the focus", `document.activeElement.id === "f-user_id" && document.activeElement.ariaInvalid === "true"`)
		p.accessible("a refused account")
		p.shot("create-refused")
		p.fill("#f-user_id", id)
		p.fill("#f-nickname", "<i>새 계정</i>")
		p.fill("#f-face_url", "https://img.invalid/face.png")
		p.untilText("[data-preview-note]", p.text("form.picture_failed"))
		p.click(".dialog-foot .primary")
		p.untilText(".toast", p.text("create.done", "user_id", id))
		p.until("the new account is in the list", `document.querySelector("#rows tr").dataset.id === `+quote(id)+` && document.querySelector("#rows tr .nick").textContent === "<i>새 계정</i>"`)
		p.until("the own account is no news", `document.querySelector("#news").hidden`)
		p.click("#new-account")
		p.fill("#f-user_id", id)
		p.click(".dialog-foot .primary")
		p.untilText(`[data-fault="user_id"]`, p.text("error.account_exists"))
		p.press("\x1b")
		p.untilText("[role=alertdialog] h2", p.text("dialog.unsaved"))
		p.accessible("the question before what was typed is lost")
		p.shot("create-unsaved")
		p.press("\x1b\x1b") // away with the question, and asked again
		p.untilText("[role=alertdialog] h2", p.text("dialog.unsaved"))
		p.press("\r")
		p.until("what was typed is kept", `!document.querySelector("[role=alertdialog]") && document.activeElement.value === `+quote(id))
		p.click("dialog[open] [data-close]")
		p.click("[role=alertdialog] .danger")
		p.until("the focus is back", `document.activeElement.id === "new-account"`)
	})
}

func TestEnterSendsTheFormOfADialog(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Enter")
		p.openList(app)
		p.press("n")
		p.fill("#f-user_id", "by-enter")
		p.expect("status of 401")
		p.run(command(network.ClearBrowserCookies, cdp.Empty{}))
		p.press("\r")
		p.until("a session that has ended takes nothing away", `document.querySelector("dialog[open] .problem a[target=_blank]")?.textContent === `+quote(p.text("sign_in.submit")))
		p.accessible("a session that has ended")
		p.haveSession(shared.service.OperatorToken())
		p.press("\r")
		p.untilText(".toast", p.text("create.done", "user_id", "by-enter"))
		p.until("the dialog is closed", `!document.querySelector("dialog[open]")`)
		korean := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "ㅜ", Code: "KeyN", WindowsVirtualKeyCode: 'N'}
		p.run(command(input.DispatchKeyEvent, korean))
		p.until("the key n does it with a Korean keyboard too", `document.querySelector("dialog[open] #f-user_id")`)
		p.press("\x1b")
		p.until("a dialog without anything typed closes at once", `!document.querySelector("dialog:not(#help)")`)
		p.press("?")
		p.click("#help .close")
		p.until("the help is closed by its button", `!document.querySelector("dialog[open]")`)
	})
}

// admins counts an application's administrators.
func (r *rig) admins(t testing.TB, app string) any {
	t.Helper()
	return int(r.call(t, http.MethodGet, "/v1/apps/"+app+"/accounts?type=admin", nil)["total"].(float64))
}

func TestTheSeatsOfAdministratorsAreShownAndEnd(t *testing.T) {
	app := shared.newApp(t, "Seats")
	shared.create(t, app, account{"user_id": "a1", "type": "admin"}, account{"user_id": "a2", "type": "admin"}, account{"user_id": "a3", "type": "admin"})
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.openList(app)
		p.click("#new-account")
		p.untilText("#seats", p.text("create.seats_full", "limit", 3))
		p.until("no further one can be chosen", `document.querySelector("[name=type][value=admin]:disabled")`)
		p.accessible("no seats")
	})
}

func TestAnAccountIsEditedFieldByField(t *testing.T) {
	app := shared.newApp(t, "Edit")
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 422")
		id := "edit-" + p.language.Tag
		shared.create(t, app, account{"user_id": id, "nickname": "Before", "location": "Seoul", "level": 1, "self_signature": "line\r\nline"})
		p.openList(app)
		p.click(`tr[data-id="` + id + `"] [data-act="edit"]`)
		p.fill("#f-nickname", "After 👋")
		p.fill("#f-location", "a place far too long")
		p.untilText(`[data-count-of="f-location"]`, "20 / 16")
		p.fill("#f-level", "many")
		p.click(".dialog-foot .primary")
		p.untilText(`[data-fault="level"]`, p.text("fault.level.invalid_value"))
		p.fill("#f-level", "")
		p.click(".dialog-foot .primary")
		p.untilText(`[data-fault="location"]`, p.text("fault.too_long"))
		p.fill("#f-location", "부산")
		p.fill("#f-gender", "female")
		p.fill("#f-birthday", "2000-02-29")
		p.fill("#f-allow_type", "deny_any")
		p.fill("#f-admin_forbid_type", "send_out")
		p.fill("#f-role", "7")
		p.do(`document.querySelector("[data-bit]").click()`)
		p.click(".dialog-foot .primary")
		p.untilText(".toast", p.text("edit.done", "user_id", id))
		p.untilText(`tr[data-id="`+id+`"] .nick`, "After 👋")
		p.until("the focus is back on the row", `document.activeElement.closest("tr")?.dataset.id === `+quote(id))
		got := shared.call(t, http.MethodGet, "/v1/apps/"+app+"/accounts/"+id, nil)
		for field, want := range (account{
			"nickname": "After 👋", "location": "부산", "gender": "female", "birthday": 20000229.0, "allow_type": "deny_any", "admin_forbid_type": "send_out",
			"role": 7.0, "msg_settings": 1.0, "level": nil, "self_signature": "line\r\nline",
		}) {
			if got[field] != want {
				t.Errorf("%s is %#v, want %#v", field, got[field], want)
			}
		}
	})
}

func TestTheSecondOfTwoEditorsSeesTheDifferenceAndChooses(t *testing.T) {
	app := shared.newApp(t, "Conflict")
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 412")
		id := "both-" + p.language.Tag
		shared.create(t, app, account{"user_id": id, "nickname": "Old", "location": "Seoul", "gender": "male"})
		path := "/v1/apps/" + app + "/accounts/" + id
		p.openList(app)
		p.click(`tr[data-id="` + id + `"] [data-act="edit"]`)
		p.fill("#f-nickname", "Mine")
		p.fill("#f-location", "Busan")
		p.fill("#f-level", "5")
		shared.call(t, http.MethodPatch, path, account{"nickname": "Theirs", "location": "Jeju", "gender": "female"})
		p.click(".dialog-foot .primary")
		p.untilText(".conflict h3", p.text("conflict.title"))
		p.untilText(".conflict .before", "Old")
		p.accessible("a conflict")
		p.shot("conflict")
		p.click(".dialog-foot .primary") // nothing is saved before each is chosen
		p.until("the choice is asked for", `document.activeElement.name?.startsWith("choose-")`)
		p.do(`document.querySelector("[name=choose-nickname][value=mine]").click()`)
		p.do(`document.querySelector("[name=choose-location][value=theirs]").click()`)
		p.click(".dialog-foot .primary")
		p.untilText(".toast", p.text("edit.done", "user_id", id))
		got := shared.call(t, http.MethodGet, path, nil)
		for field, want := range (account{"nickname": "Mine", "location": "Jeju", "gender": "female", "level": 5.0}) {
			if got[field] != want {
				t.Errorf("%s is %#v, want %#v", field, got[field], want)
			}
		}
	})
}

func TestOneAccountIsDeletedAfterAWarning(t *testing.T) {
	app := shared.newApp(t, "Delete one")
	inEachLanguage(t, func(t *testing.T, p *page) {
		id := "gone-" + p.language.Tag
		shared.create(t, app, account{"user_id": id})
		p.openList(app)
		p.click(`tr[data-id="` + id + `"]`)
		p.do(`document.querySelector('tr[data-id="` + id + `"]').focus()`)
		p.press("#")
		p.untilText("dialog h2", p.text("delete.title_one", "user_id", id))
		p.untilText(".warning", p.text("delete.warning"))
		p.until("the focus is not on what destroys", `document.activeElement.matches("[data-cancel]")`)
		p.click("dialog [data-go]")
		p.untilText("[data-outcome]", p.text("delete.done", "n", 1))
		p.click("[data-finish]")
		p.until("the account is gone", `!document.querySelector('tr[data-id="`+id+`"]')`)
	})
}

func TestManyAccountsAreDeletedInBatchesWithTheirResults(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Delete many")
		shared.fill(t, app, 130)
		p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/accounts?limit=200")
		p.until("the list is live", `document.querySelector("#live-state").checkVisibility()`)
		p.click("#pick-page + span")
		p.click("#delete-selected")
		p.untilText("dialog h2", p.text("delete.title", "n", 130))
		p.until("the number is asked for", `document.querySelector("[data-go]").disabled`)
		p.accessible("many to delete")
		p.shot("delete-many")
		shared.call(t, http.MethodDelete, "/v1/apps/"+app+"/accounts/p0000007", nil) // somebody else is faster
		p.fill("#f-confirm", "130")
		p.click("dialog [data-go]")
		p.untilText("[data-outcome]", p.text("delete.done", "n", 129))
		p.untilText("[data-failures]", "p0000007")
		p.untilText("[data-failures]", p.text("error.account_not_found"))
		p.accessible("results of a deletion")
		p.shot("delete-results")
		p.click("[data-finish]")
		p.untilText(".empty h2", p.text("list.none"))
		p.until("nothing that is gone is selected", `document.querySelector("#selection").hidden`)
		p.until("the focus is on the page, whose button is gone", `document.activeElement.id === "main"`)
	})
}

func TestChangesShowLiveWithoutAJump(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Live")
		shared.fill(t, app, 30)
		p.openList(app)
		top := `String(document.querySelector('tr[data-id="p0000015"]').getBoundingClientRect().top)`
		before := p.get(top)
		shared.create(t, app, account{"user_id": "fresh1"}, account{"user_id": "fresh2"}, account{"user_id": "fresh3"})
		shared.call(t, http.MethodPatch, "/v1/apps/"+app+"/accounts/p0000020", account{"nickname": "Changed live"})
		shared.call(t, http.MethodDelete, "/v1/apps/"+app+"/accounts/p0000021", nil)
		p.untilText(`tr[data-id="p0000020"] .nick`, "Changed live")
		p.untilText("#news", p.text("live.new", "n", 3))
		p.until("the deleted row is marked", `document.querySelector('tr[data-id="p0000021"].gone')`)
		p.untilText("#total", "32")
		if after := p.get(top); after != before {
			t.Errorf("a row jumped from %s to %s", before, after)
		}
		shared.call(t, http.MethodDelete, "/v1/apps/"+app+"/accounts/p0000022", nil)
		p.untilText("#total", "31")
		if got := p.get(`[...document.querySelectorAll("tr.changed:not([data-id=p0000020])")].map((tr) => tr.dataset.id)`); got != "" {
			t.Errorf("rows are shown as changed when another is deleted: %s", got)
		}
		p.shot("live")
		p.click("#news")
		p.until("the new ones are shown", rowIDs+`.startsWith("fresh3 fresh2 fresh1 ") && !document.querySelector(".gone")`)
		p.until("there is no more news", `document.querySelector("#news").hidden`)
	})
}

func TestWhatARoleMayNotDoIsNotOffered(t *testing.T) {
	app := shared.newApp(t, "Roles")
	shared.create(t, app, account{"user_id": "somebody"})
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 403")
		for _, c := range []struct{ role, has, lacks string }{
			{"admin", "#new-account, #table, [data-act=edit], [data-act=delete], #pick-page", ".empty"},
			{"viewer", "#table", "#new-account, [data-act], #pick-page"},
			{"producer", "#new-account, .empty", "#table"},
			{"exporter", ".empty", "#table, #new-account"},
			{"auditor", ".empty", "#table, #new-account"},
		} {
			secret, _ := shared.token(t, c.role, app)
			p.signIn(secret, "/console/apps/"+app+"/accounts")
			for _, selector := range strings.Split(c.has, ", ") {
				p.until(c.role+" is offered "+selector, fmt.Sprintf(`document.querySelector(%s)`, quote(selector)))
			}
			if p.get(fmt.Sprintf(`document.querySelector(%s) === null`, quote(c.lacks))) != "true" {
				t.Errorf("%s is offered %s", c.role, c.lacks)
			}
			if c.role == "producer" {
				p.accessible("what a producer sees")
			}
			p.goTo("/console/apps/another")
			p.untilText("h1", p.text("error.forbidden"))
		}
	})
}
