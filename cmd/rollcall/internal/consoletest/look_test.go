package consoletest

import (
	"strings"
	"testing"
)

// hostile is what accounts may say of themselves.
var hostile = []account{
	{"user_id": "markup", "nickname": `<img src=x onerror="alert(1)"><script>alert(2)</script>`},
	{"user_id": "backwards", "nickname": "user\u202egnp.exe", "self_signature": "\u202e"},
	{"user_id": "hidden", "nickname": "adm\u200bin\u2060\ufeff", "type": "admin"},
	{"user_id": "endless", "nickname": strings.Repeat("W", 500)},
	{"user_id": "gone-picture", "nickname": "사진 없음", "face_url": "https://img.invalid/1.png"},
	{"user_id": "quotes\"'<>&/%2F", "nickname": "'\"`{{.}}${1}"},
	{"user_id": "arabic", "nickname": "مريم الأحمد"},
	{"user_id": "family", "nickname": "👨‍👩‍👧‍👦 가족"},
	{"user_id": "minjun", "nickname": "김민준", "gender": "male", "birthday": 19940317, "location": "서울", "self_signature": "안녕하세요 👋", "allow_type": "need_confirm", "level": 3, "msg_settings": 1},
	{"user_id": "li.na", "nickname": "李娜"},
	{"user_id": "no-name"},
	{"user_id": "spaces", "nickname": "   "},
	{"user_id": "boss", "nickname": "관리자", "type": "admin"},
}

func TestEachPageIsAsItShouldLook(t *testing.T) {
	app := shared.newApp(t, "데모 메신저")
	shared.create(t, app, hostile...)
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("https://img.invalid/")
		p.theme("light")
		p.goTo("/console/sign-in")
		p.shot("sign-in-light")
		p.accessible("the sign-in")
		look := p.accessible
		for _, theme := range []string{"light", "dark"} {
			p.theme(theme)
			p.signIn(shared.service.OperatorToken(), "/console/")
			p.untilText("h1", p.text("apps.title"))
			p.shot("apps-" + theme)
			look("applications, " + theme)
			p.goTo("/console/apps/" + app)
			p.until("the list is live", `document.querySelector('#live-state').checkVisibility()`)
			p.shot("accounts-" + theme)
			look("accounts, " + theme)
			for name, selector := range map[string]string{"create": "#new-account", "edit": `tr[data-id="minjun"] [data-act="edit"]`, "delete": `tr[data-id="minjun"] [data-act="delete"]`, "help": "#help-button", "menu": "[popovertarget=menu]"} {
				p.click(selector)
				p.until(name+" is open", `document.querySelector('dialog[open], [popover]:popover-open')`)
				p.shot(name + "-" + theme)
				look(name + ", " + theme)
				p.press("\x1b")
				p.until(name+" is closed", `!document.querySelector('dialog[open], [popover]:popover-open')`)
			}
			look = p.readable
		}
		p.resize(390, 844)
		p.theme("light")
		p.goTo("/console/")
		p.shot("apps-phone")
		p.goTo("/console/apps/" + app)
		p.until("the list is live", `document.querySelector('#live-state').checkVisibility()`)
		p.shot("accounts-phone")
		p.accessible("accounts on a phone")
		if p.get(`document.documentElement.scrollWidth > 390`) == "true" {
			t.Error("the page is wider than a phone")
		}
		p.click(`tr[data-id="minjun"] .pick input + span`)
		p.untilText("#selection-count", p.text("selection.count", "n", 1))
		p.shot("selection-phone")
		p.click("#clear-selection")
		p.click(`tr[data-id="minjun"] [data-act="edit"]`)
		p.until("edit is open", `document.querySelector('dialog[open]')`)
		p.shot("edit-phone")
		p.resize(1280, 860)
		p.expect("status of 404")
		p.goTo("/console/apps/" + app + "/nothing")
		p.untilText("h1", p.text("error.not_found"))
		p.shot("problem")
		p.accessible("a page that is not there")
	})
}
