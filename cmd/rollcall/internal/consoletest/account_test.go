package consoletest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// fact is an expression that finds what an account's page says of a field, by its label.
func (p *page) fact(field string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#facts dl > div")].find((d) => d.querySelector("dt").textContent === %s)`, quote(p.text("field."+field)))
}

func (p *page) untilFact(field, value string) {
	p.Helper()
	p.until(field+" is "+value, p.fact(field)+`.querySelector("dd").textContent.includes(`+quote(value)+`)`)
}

// edit edits an account by the API.
func (r *rig) edit(t testing.TB, app, id string, patch account) {
	t.Helper()
	r.call(t, http.MethodPatch, "/v1/apps/"+app+"/accounts/"+strings.ReplaceAll(url.PathEscape(id), ".", "%2E"), patch)
}

func TestAnAccountsPageShowsWhatItIsWasAndWillBe(t *testing.T) {
	app := shared.newApp(t, "여정")
	inEachLanguage(t, func(t *testing.T, p *page) {
		id := "mina-" + p.language.Tag
		shared.create(t, app, account{"user_id": id, "nickname": "미나", "gender": "female", "location": "서울", "level": 1})
		shared.edit(t, app, id, account{"nickname": "미나 킴", "level": 2, "birthday": 19990420})
		shared.edit(t, app, id, account{"self_signature": "안녕하세요 👋", "msg_settings": 1, "allow_type": "need_confirm"})
		shared.edit(t, app, id, account{"location": nil, "nickname": "Mina Kim"})
		p.theme("light")
		p.openList(app)
		p.do(`document.querySelector('tr[data-id="` + id + `"]').focus()`)
		p.press("\r")
		p.untilText("h1", "Mina Kim")
		p.until("the page is live", `document.querySelector("#live-state")?.checkVisibility()`)
		p.untilFact("gender", p.text("value.gender.female"))
		p.untilFact("msg_settings", p.text("edit.no_messages"))
		p.untilFact("location", p.text("value.unset"))
		p.until("the latest event stands first", `document.querySelectorAll(".entry").length === 4 && document.querySelector(".entry").textContent.includes("Mina Kim") && document.querySelector(".entry del").textContent === "미나 킴"`)
		p.accessible("an account")
		p.shot("account-light")

		p.press("[")
		p.untilFact("nickname", "미나 킴")
		p.until("what is another now is marked", `document.querySelectorAll("#facts .differs").length === 2`) // nickname and location
		p.until("the slider tells where it is", `document.querySelector("#when").ariaValueText ?? document.querySelector("#when").getAttribute("aria-valuetext")`)
		p.until("its event is marked", `document.querySelector(".entry.shown del")?.textContent === `+quote(p.text("value.unset"))+` || document.querySelectorAll(".entry")[1].classList.contains("shown")`)
		p.accessible("an account as it was")
		p.shot("account-past-light")
		p.do(`document.querySelector("#when").focus()`)
		p.run(key("Home", 36))
		p.untilFact("nickname", "미나")
		p.untilFact("level", "1")
		p.until("there is nothing earlier", `document.querySelector("#earlier").disabled`)
		shared.edit(t, app, id, account{"level": 9}) // the past stays where it is
		p.until("the new event is shown", `document.querySelectorAll(".entry").length === 5`)
		p.untilFact("level", "1")
		p.click("#back-to-now")
		p.untilFact("level", "9")
		p.click(`.entry:nth-child(3) [data-show]`)
		p.untilFact("level", "2")
		p.press("0")
		p.untilFact("level", "9")

		p.click(`[data-act="edit"]`)
		p.fill("#f-nickname", "Edited here")
		p.click(".dialog-foot .primary")
		p.untilText("h1", "Edited here")
		p.until("the own edit is in the history once", `document.querySelectorAll(".entry").length === 6`)
		p.theme("dark")
		p.goTo("/console/apps/" + app + "/accounts/" + id)
		p.untilText("h1", "Edited here")
		p.readable("an account in the dark")
		p.shot("account-dark")
		p.theme("light")
		p.resize(390, 844)
		p.shot("account-phone")
		p.accessible("an account on a phone")
		if p.get(`document.documentElement.scrollWidth > innerWidth`) == "true" {
			t.Error("the page is wider than a phone")
		}
	})
}

func TestADeletedAccountKeepsItsHistoryWithoutItsValues(t *testing.T) {
	app := shared.newApp(t, "Gone")
	inEachLanguage(t, func(t *testing.T, p *page) {
		id := "gone-" + p.language.Tag
		shared.create(t, app, account{"user_id": id, "nickname": "Secret name", "level": 4})
		shared.edit(t, app, id, account{"nickname": "Another secret"})
		p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/accounts/"+id)
		p.until("the page is live", `document.querySelector("#live-state")?.checkVisibility()`)
		p.click(`[data-act="delete"]`)
		p.click("dialog [data-go]")
		p.untilText("[data-outcome]", p.text("delete.done", "n", 1))
		p.click("[data-finish]")
		p.untilText("#facts h3", p.text("account.gone"))
		p.until("the focus is in the page", `document.querySelector("#main").contains(document.activeElement)`)
		p.untilText(".entry .badge", p.text("event.account.erased"))
		p.goTo("/console/apps/" + app + "/accounts/" + id)
		p.untilText(".badge", p.text("account.deleted"))
		if text := p.get(`document.body.textContent`); strings.Contains(text, "ecret") {
			t.Error("the page tells what was erased")
		}
		p.untilText(".entry .changes", p.text("event.value_erased"))
		p.accessible("a deleted account")
		p.shot("account-deleted")
		p.press("[")
		p.untilText("#facts h3", p.text("account.erased"))
		p.shot("account-erased")
		shared.create(t, app, account{"user_id": id, "nickname": "Somebody new"})
		p.press("0")
		p.untilText("h1", "Somebody new")
	})
}

func TestAnAccountOfAnyIDHasItsPage(t *testing.T) {
	app := shared.newApp(t, "Ids")
	ids := []string{"a/b", "50%", `quo"te`, "a.b*c>d", "%2F", "a/../b", "rows", "?x=1#y", "//", "<b>&amp;", ".", "..", "/", "a\\b", "+ok"}
	for _, id := range ids {
		shared.create(t, app, account{"user_id": id, "nickname": "Nick of " + id})
	}
	p := openPage(t, shared, shared.languages[0])
	p.openList(app)
	links := eval[map[string]string](p, `Object.fromEntries([...document.querySelectorAll("#rows tr[data-id]")].map((tr) => [tr.dataset.id, tr.querySelector(".nick a").href]))`)
	v := signedIn(t, shared.service.OperatorToken())
	for _, id := range ids {
		path := strings.TrimPrefix(links[id], p.base)
		res := v.ask(http.MethodGet, path, "")
		if res.StatusCode != http.StatusOK || !strings.Contains(res.body, `class="timeline"`) || strings.Count(res.body, `class="entry `) != 1 {
			t.Errorf("%q at %s: %s", id, path, res.Status)
		}
	}
	for _, id := range []string{"a/../b", "%2F", "."} {
		p.goTo(strings.TrimPrefix(links[id], p.base))
		p.untilText("h1", "Nick of "+id)
		if got := p.get(`document.querySelector("#account").dataset.user`); got != id {
			t.Errorf("the page of %q is of %q", id, got)
		}
		p.until("the page is live", `document.querySelector("#live-state")?.checkVisibility()`)
		shared.edit(t, app, id, account{"level": 8})
		p.untilFact("level", "8")
	}
	p.expect("status of 412") // still on the page of the account .
	p.press("e")
	p.fill("#f-nickname", "Renamed")
	shared.edit(t, app, ".", account{"nickname": "Meanwhile"})
	p.click(".dialog-foot .primary")
	p.untilText(".conflict h3", p.text("conflict.title"))
	p.do(`document.querySelector("[name=choose-nickname][value=mine]").click()`)
	p.click(".dialog-foot .primary")
	p.untilText("h1", "Renamed")
	p.press("#")
	p.click("dialog [data-go]")
	p.click("[data-finish]")
	p.untilText("h1 + p", p.text("account.deleted"))
}

func TestALongHistoryComesInParts(t *testing.T) {
	app := shared.newApp(t, "Long")
	shared.create(t, app, account{"user_id": "busy"})
	for i := range 70 {
		shared.edit(t, app, "busy", account{"level": i})
	}
	p := openPage(t, shared, shared.languages[0])
	p.signIn(shared.service.OperatorToken(), "/console/apps/"+app+"/accounts/busy")
	p.until("the first part is shown", `document.querySelectorAll(".entry").length === 30`)
	p.click("#older")
	p.until("the second part is shown", `document.querySelectorAll(".entry").length === 60 && document.activeElement.closest(".entry") === document.querySelectorAll(".entry")[30]`)
	p.click("#older")
	p.until("the beginning is shown", `document.querySelectorAll(".entry").length === 71 && document.querySelector("#older").hidden && document.querySelector(".entry:last-child .badge").textContent === `+quote(p.text("event.account.created")))
	p.until("the slider reaches it all", `document.querySelector("#when").max === "71"`)
}
