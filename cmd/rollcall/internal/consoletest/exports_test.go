package consoletest

import (
	"fmt"
	"net/http"
	"testing"
)

func TestAccountsAreExportedWithProgressAndADownload(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Exports")
		shared.fill(t, app, 30)
		shared.create(t, app, account{"user_id": "boss", "nickname": "관리자 <b>", "type": "admin"})
		p.openList(app)
		p.click("#export")
		p.untilText("[data-scope]", p.text("exports.scope_all"))
		p.until("compression can be chosen", `!document.querySelector("#f-compression").disabled`)
		p.click(`[name="format"][value="xlsx"] + span`)
		p.until("a workbook is compressed already", `document.querySelector("#f-compression").disabled`)
		p.click("details.fields summary")
		p.click(`[data-fields="none"]`)
		p.until("no file without a column", `document.querySelector("[data-go]").disabled`)
		p.click(`[value="user_id"]`)
		p.click(`[value="nickname"]`)
		p.accessible("the dialog of an export")
		p.shot("export-fields")
		p.click("[data-go]")
		p.untilText("[data-outcome]", p.text("exports.done"))
		p.untilText("dd[data-rows]", "31")
		p.accessible("a completed export")
		p.shot("export-done")
		p.do(`window.went = []; navigation.addEventListener("navigate", (e) => { window.went.push(e.destination.url); e.preventDefault(); })`)
		p.click("[data-download]")
		p.until("the file is asked for", `window.went.some((url) => url.includes("/exports/files/"))`)
		p.press("\x1b")

		p.click(`tr[data-id="boss"] .pick input + span`)
		p.click("#export-selected")
		p.untilText("[data-scope]", p.text("exports.scope_one", "user_id", "boss"))
		p.click("[data-go]")
		p.untilText("dd[data-rows]", "1")
		p.press("\x1b")
		p.click("#clear-selection")
		p.click(`tr[data-id="p0000003"] [data-act="export"]`)
		p.untilText("[data-scope]", p.text("exports.scope_one", "user_id", "p0000003"))
		p.press("\x1b")

		p.click(`[name="type"][value="admin"] + span`)
		p.until("only administrators are shown", rowIDs+` === "boss"`)
		p.click("#export")
		p.untilText("[data-scope]", p.text("exports.scope_filtered", "n", 1, "total", "1"))
		p.click("[data-go]")
		p.untilText("dd[data-rows]", "1")
		p.press("\x1b")

		p.goTo("/console/apps/" + app + "/exports")
		p.until("the jobs are listed", `document.querySelectorAll(".job .status.completed").length >= 3`)
		p.untilText(".job:first-child h2", p.text("exports.what_filtered"))
		p.accessible("the page of exports")
		p.shot("exports")
		jobs := shared.call(t, http.MethodGet, "/v1/apps/"+app+"/exports", nil)["exports"].([]any)
		newest := jobs[0].(map[string]any)
		if filter, _ := newest["filter"].(map[string]any); filter["type"] != "admin" || newest["rows"] != 1.0 {
			t.Errorf("the export of the filtered list is %v", newest)
		}
		if fields := jobs[2].(map[string]any)["fields"]; fmt.Sprint(fields) != "[user_id nickname]" {
			t.Errorf("the fields are %v", fields)
		}
	})
}

func TestThePageOfExportsShowsAJobThatIsOrderedThere(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Follow")
		shared.fill(t, app, 500)
		p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/exports")
		p.shot("exports-none")
		p.click("#export")
		p.untilText("[data-scope]", p.text("exports.scope_all"))
		p.click("[data-go]")
		p.untilText("[data-outcome]", p.text("exports.done"))
		p.press("\x1b")
		p.until("the job is on the page", `document.querySelector(".job .status.completed")`)
		// What cannot be seen in a moment is shown as it would be: another job is there and goes on.
		p.do(`const job = document.querySelector(".job"); job.dataset.version = "another"; job.dataset.live = ""; job.querySelector(".status").textContent = "?"`)
		shared.call(t, http.MethodPost, "/v1/apps/"+app+"/exports", account{"format": "csv"})
		p.until("both are shown as they are", `document.querySelectorAll(".job .status.completed").length === 2 && !document.querySelector("[data-live]:not(#exports)")`)
		p.until("the page is live", `document.querySelector("#live-state").checkVisibility()`)
		p.resize(390, 844)
		p.shot("exports-phone")
		p.accessible("exports on a phone")
	})
}

func TestAnExporterSeesExportsAndNothingElse(t *testing.T) {
	app := shared.newApp(t, "Exporter")
	shared.create(t, app, account{"user_id": "one"})
	exporter, _ := shared.token(t, "exporter", app)
	viewer, _ := shared.token(t, "viewer", app)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.signIn(exporter, "/console/apps/"+app)
		p.click("#export")
		p.untilText("[data-scope]", p.text("exports.scope_all"))
		p.click("[data-go]")
		p.untilText("dd[data-rows]", "1")
		p.expect("status of 403")
		p.signIn(viewer, "/console/apps/"+app+"/accounts")
		p.until("nothing is offered", `document.querySelector("#table") && !document.querySelector("#export, #export-selected, a[href$='/exports']")`)
		p.goTo("/console/apps/" + app + "/exports")
		p.untilText("h1", p.text("error.forbidden"))
	})
}

func TestAnExportGoesOnBehindAClosedDialogAndIsToldOfWhenItIsComplete(t *testing.T) {
	app := shared.newApp(t, "Background")
	shared.fill(t, app, 3)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.openList(app)
		// The end of so small an export would come before anybody could close the dialog: the test tells of it.
		p.do(`window.EventSource = class extends EventTarget { constructor() { super(); window.told = this; } close() {} }`)
		p.press("s")
		p.fill("#f-as_of", "2100-01-01T00:00:00")
		p.expect("status of 422")
		p.click("[data-go]")
		p.until("a time to come is refused", `document.querySelector("#as_of-fault").checkVisibility()`)
		p.shot("export-refused")
		p.fill("#f-as_of", "")
		p.click("[data-go]")
		p.untilText("[data-work]", p.text("exports.background"))
		p.accessible("an export that goes on")
		p.shot("export-work")
		p.press("\x1b")
		p.untilText(".toast", p.text("exports.goes_on"))
		p.until("its end is told, with the file", `(told.dispatchEvent(new Event("completed")), document.querySelector(".toast button"))`)
		p.untilText(".toast button", p.text("exports.download"))
		p.shot("export-toast")
		p.do(`window.went = []; navigation.addEventListener("navigate", (e) => { window.went.push(e.destination.url); e.preventDefault(); })`)
		p.click(".toast button")
		p.until("the file is asked for", `window.went.some((url) => url.includes("/exports/files/"))`)
	})
}

func TestAnExportIsCancelledOnThePageOfExportsAfterAQuestion(t *testing.T) {
	app := shared.newApp(t, "Cancel")
	shared.fill(t, app, 3)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 409")
		p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/exports")
		p.click("#export")
		p.click("[data-go]")
		p.untilText("[data-outcome]", p.text("exports.done"))
		p.press("\x1b")
		p.until("the job is on the page", `document.querySelector(".job .status.completed")`)
		p.until("its end is near", `/\d/.test(document.querySelector(".job-state time").textContent) && document.querySelector(".job-state time").title`)
		p.do(`window.went = []; navigation.addEventListener("navigate", (e) => { window.went.push(e.destination.url); e.preventDefault(); })`)
		p.click(`.job [data-act="manifest"]`)
		p.until("the manifest is asked for", `window.went.some((url) => url.includes(".manifest.json"))`)
		// A job is over sooner than a person can cancel it: the button of one that goes on is put there, and the service says that it is late.
		p.do(`document.querySelector(".job [data-act=download]").dataset.act = "cancel"`)
		p.click(`.job [data-act="cancel"]`)
		p.untilText("dialog h2", p.text("exports.cancel_title"))
		p.until("the focus is not on what ends it", `document.activeElement.matches("dialog [data-close]")`)
		p.accessible("the question before a cancellation")
		p.shot("export-cancel")
		p.click("dialog [data-go]")
		p.untilText(".toast", p.text("error.export_finished"))
	})
}

func TestWhyAnExportIsOverIsSaidInTheLanguageOfThePage(t *testing.T) {
	app := shared.newApp(t, "Why")
	shared.create(t, app, account{"user_id": "leaves"}, account{"user_id": "stays"})
	shared.call(t, http.MethodPost, "/v1/apps/"+app+"/exports", account{"format": "csv", "filter": account{"q": "leaves"}})
	var job account
	for job["status"] != "completed" {
		job = shared.call(t, http.MethodGet, "/v1/apps/"+app+"/exports", nil)["exports"].([]any)[0].(account)
	}
	shared.call(t, http.MethodDelete, "/v1/apps/"+app+"/accounts/leaves", nil)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/exports")
		p.untilText(".job .status", p.text("exports.expired"))
		p.untilText(".job-state .job-note", p.text("exports.why_account_deleted"))
		p.untilText(".job h2", p.text("exports.what_filtered")) // although nobody knows any more what was searched for
		p.shot("exports-expired")
	})
}
