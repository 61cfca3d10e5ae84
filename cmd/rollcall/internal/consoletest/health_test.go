package consoletest

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bury sends messages that are no commands and waits until they are dead letters.
func (r *rig) bury(t testing.TB, app string, bodies ...string) {
	t.Helper()
	nc, err := nats.Connect(r.service.NATSURL(), nats.Token(r.service.OperatorToken()))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if _, err := js.Publish(t.Context(), "accounts.cmd."+app+".create", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if dead := r.call(t, "GET", "/v1/commands/dead?app="+app, nil)["commands"].([]any); len(dead) == len(bodies) {
			return
		}
	}
	t.Fatal("the messages are not buried")
}

func TestTheHealthOfTheServiceIsShownAndDeadLettersAreDealtWith(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Health")
		shared.bury(t, app, `{"nickname": "<script>alert(1)</script>`, "\xff\xfe not text")
		p.theme("light")
		p.signIn(shared.service.OperatorToken(), "/console/")
		p.click("[popovertarget=menu]")
		p.click(`#menu a[href="/console/health"]`)
		p.untilText("h1", p.text("health.title"))
		p.untilText(".pill", p.text("health.ready"))
		p.untilText(".plain", "account_list")
		p.untilText(".plain", "COMMANDS")
		p.accessible("the health of the service")
		p.shot("health-light")
		mine := `[...document.querySelectorAll("[data-dead]")].filter((d) => d.textContent.includes(` + quote(app) + `))`
		p.until("the dead letters are shown", mine+`.length === 2`)
		p.do(`(` + mine + `).find((d) => d.textContent.includes("<script>")).querySelector("summary").click()`)
		p.untilText(".dead-data", "<script>alert(1)</script>")
		p.do(`document.querySelector("#dead-title").scrollIntoView()`)
		p.accessible("a dead letter")
		p.shot("health-dead")
		p.do(`(` + mine + `)[0].querySelector("[data-retry]").click()`)
		p.untilText(".toast", p.text("health.retried"))
		p.do(`(` + mine + `).at(-1).querySelector("summary").click()`)
		p.do(`(` + mine + `).at(-1).querySelector("[data-drop]").click()`)
		p.untilText("dialog h2", p.text("health.drop_title"))
		p.accessible("the dialog that drops")
		p.click("dialog [data-go]")
		p.untilText(".toast", p.text("health.dropped"))
		p.until("one is gone", mine+`.length < 2`)
		p.theme("dark")
		p.goTo("/console/health")
		p.readable("the health of the service in the dark")
		p.shot("health-dark")
		p.theme("light")
		p.resize(390, 844)
		p.shot("health-phone")
		p.accessible("the health on a phone")
		if p.get(`document.documentElement.scrollWidth > innerWidth`) == "true" {
			t.Error("the page is wider than a phone")
		}
		if narrow := p.get(`[...document.querySelectorAll(".plain tbody th")].filter((th) => th.clientWidth < 80).length`); narrow != "0" {
			t.Errorf("%s names have no room on a phone", narrow)
		}
	})
}
