package consoletest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// eventsShown is how many events the page of them shows, as an expression.
const eventsShown = `document.querySelectorAll("#events > li").length`

func TestTheEventsOfAnApplicationAreFilteredReadAndFollowed(t *testing.T) {
	app := shared.newApp(t, "감사 대상")
	secret, _ := shared.token(t, "auditor", app)
	shared.fill(t, app, 60)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 422")
		id := "watched/" + p.language.Tag
		shared.create(t, app, account{"user_id": id, "nickname": "First"})
		shared.edit(t, app, id, account{"nickname": "Second", "gender": "male"})
		p.theme("light")
		p.signIn(secret, "/console/apps/"+app)
		p.untilText("h1", p.text("audit.title"))
		p.until("the page is live", `document.querySelector("#live-state").checkVisibility()`)
		p.until("the latest are shown", eventsShown+` >= 50`)
		p.accessible("the events")
		p.shot("audit-light")
		// News that never pause, as while an import runs, do not put off for ever what is done about them.
		p.do(`(async () => {
			const { paced } = await import(new URL("ui.js", document.querySelector("script[type=module]").src));
			let [looks, timer] = [0];
			await new Promise((done) => { timer = setInterval(paced(() => { looks += 1; if (looks === 2) done(); }, 40), 5); });
			clearInterval(timer);
		})()`)
		p.click("#older")
		p.until("older ones are shown", eventsShown+` > 60`)

		p.fill("#a-user_id", id)
		p.until("only those of the account are shown", eventsShown+` === 2 && new URLSearchParams(location.search).get("user_id") === `+quote(id))
		p.do(`document.querySelector("#events summary").focus()`)
		p.press("\r")
		p.untilText(".event-body .changes", "Second")
		p.untilText(".event-body .changes", p.text("value.gender.male"))
		p.untilText(".event-body .origin", "account.edited.v1")
		p.accessible("an event")
		p.shot("audit-event")
		shared.edit(t, app, id, account{"level": 3})
		p.until("what happens is shown in front", eventsShown+` === 3`)
		p.until("what was opened stays open", `document.querySelectorAll("#events > li")[1].querySelector("details").open`)
		p.press("f")
		p.until("it is not followed", `document.querySelector("#live-state").hidden`)
		shared.edit(t, app, id, account{"level": 4})
		p.press("f")
		p.until("what happened meanwhile is shown", eventsShown+` === 4`)

		p.fill("#a-type", "account.created")
		p.until("the type filters", eventsShown+` === 1`)
		p.fill("#a-actor", "nobody-at-all")
		p.untilText("#looking", p.text("audit.none"))
		p.accessible("no events")
		p.fill("#a-actor", "")
		p.fill("#a-user_id", "not a user id")
		p.untilText("#fault", p.text("error.validation_failed"))
		p.click("#clear")
		p.until("all are shown again", eventsShown+` >= 50 && document.querySelector("#fault").hidden`)
		p.fill("#a-until", "2020-01-01T00:00:00")
		p.untilText("#looking", p.text("audit.none"))
		p.until("what is over is not followed", `document.querySelector("#follow").disabled && document.querySelector("#live-state").hidden`)
		p.goTo(p.get(`location.pathname + location.search`))
		p.until("the address says the same", `document.querySelector("#a-until").value.startsWith("2020-01-01T00:00")`)

		p.goTo("/console/apps/" + app + "/audit?user_id=" + url.QueryEscape(id))
		p.do(`document.querySelector("#events summary").click()`)
		p.until("what it did is shown", `document.querySelector(".event-body .changes")`)
		p.click(".event-body .link")
		p.untilText(".account-names", id)
		p.until("the auditor is not offered changes", `!document.querySelector("[data-act]")`)
		p.theme("dark")
		p.goTo("/console/apps/" + app + "/audit?user_id=" + url.QueryEscape(id))
		p.readable("the events in the dark")
		p.shot("audit-dark")
		p.theme("light")
		p.resize(390, 844)
		p.goTo("/console/apps/" + app + "/audit?user_id=" + url.QueryEscape(id))
		p.shot("audit-phone")
		p.accessible("the events on a phone")
		if p.get(`document.documentElement.scrollWidth > innerWidth`) == "true" {
			t.Error("the page is wider than a phone")
		}
	})
}

func TestTheStateOfTheLedgerIsShownAndItsCheckpointGiven(t *testing.T) {
	app := shared.newApp(t, "Ledger")
	secret, _ := shared.token(t, "auditor", app)
	inEachLanguage(t, func(t *testing.T, p *page) {
		id := "erase-" + p.language.Tag
		shared.create(t, app, account{"user_id": id})
		p.signIn(secret, "/console/apps/"+app+"/audit")
		p.until("the log is signed", `fetch("/v1/ledger/checkpoint?fresh=true").then((r) => r.ok)`)
		p.goTo("/console/apps/" + app + "/audit")
		p.until("a checkpoint is shown", `document.querySelector("#ledger a[download]")`)
		p.until("the root of the checkpoint that is given is the one shown", `(async () => {
			const text = async (path) => (await fetch(path)).text();
			return new DOMParser().parseFromString(await text(location.pathname + "/ledger"), "text/html").body.textContent.includes((await text(document.querySelector("#ledger a[download]").href)).split("\n")[2]);
		})()`)
		p.click("#ledger summary")
		p.untilText("#verify-command", "rollcall audit verify --app "+app+" --key ")
		p.click("[data-copy]")
		p.until("the command is copied or selected", `document.querySelector(".toast") || getSelection().toString().startsWith("rollcall audit verify")`)
		p.accessible("the ledger")
		p.shot("ledger")
		shared.call(t, http.MethodDelete, "/v1/apps/"+app+"/accounts/"+id, nil)
		p.goTo("/console/apps/" + app + "/audit?type=account.erased&user_id=" + id)
		p.until("its erasure is shown", fmt.Sprintf(`document.querySelector("#events .badge")?.textContent === %s`, quote(p.text("event.account.erased"))))
	})
}

func TestWhoMaySeeWhatWasAndTheInstance(t *testing.T) {
	t.Parallel()
	app := shared.newApp(t, "Past")
	shared.create(t, app, account{"user_id": "a"})
	paths := map[string]string{
		"account": "/apps/" + app + "/accounts/a", "now": "/apps/" + app + "/account/at?user_id=a", "then": "/apps/" + app + "/account/at?user_id=a&at=1", "history": "/apps/" + app + "/account/history?user_id=a",
		"audit": "/apps/" + app + "/audit", "events": "/apps/" + app + "/audit/events", "ledger": "/apps/" + app + "/audit/ledger", "health": "/health", "state": "/health/state", "drop": "/health/drop",
	}
	for role, allowed := range map[string]string{
		"operator": "account now then history audit events ledger health state drop", "admin": "account now then history audit events ledger", "auditor": "account now then history audit events ledger",
		"viewer": "account now", "producer": "", "exporter": "",
	} {
		secret := shared.service.OperatorToken()
		if role != "operator" {
			secret, _ = shared.token(t, role, app)
		}
		v := signedIn(t, secret)
		for name, path := range paths {
			res := v.ask(http.MethodGet, "/console"+path, "")
			want := http.StatusForbidden
			if strings.Contains(" "+allowed+" ", " "+name+" ") {
				want = http.StatusOK
			}
			if res.StatusCode != want {
				t.Errorf("%s, %s: %s, want %d", role, name, res.Status, want)
			}
			if sees := strings.Contains(res.body, `class="timeline"`); name == "account" && want == http.StatusOK && sees != (role != "viewer") {
				t.Errorf("%s sees the history: %t", role, sees)
			}
		}
		if res := v.ask(http.MethodGet, "/console/", ""); strings.Contains(res.body, `href="/console/health"`) != (role == "operator") {
			t.Errorf("%s is offered the health of the service, or is not", role)
		}
	}
	v := signedIn(t, shared.service.OperatorToken())
	for path, want := range map[string]int{
		"/apps/" + app + "/accounts/nobody": http.StatusNotFound, "/apps/" + app + "/accounts/not%20valid": http.StatusNotFound, "/apps/none/accounts/a": http.StatusNotFound, "/apps/none/audit": http.StatusNotFound,
		"/apps/" + app + "/audit?from=yesterday": http.StatusOK, "/apps/" + app + "/audit/events?from=yesterday": http.StatusUnprocessableEntity, "/apps/" + app + "/audit/events?type=made.up": http.StatusUnprocessableEntity,
		"/apps/" + app + "/account/at?user_id=a&at=x": http.StatusUnprocessableEntity, "/apps/" + app + "/audit/event?user_id=a&position=1": http.StatusNotFound,
		"/apps/" + app + "/audit/events?until=99999999": http.StatusUnprocessableEntity,
	} {
		if res := v.ask(http.MethodGet, "/console"+path, ""); res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
}
