package consoletest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestAVisitorSignsInWithATokenAndOutAgain(t *testing.T) {
	app := shared.newApp(t, "Sign in")
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 401")
		p.goTo("/console/apps/" + app + "/accounts?q=x")
		p.fill("#token", "no token of ours")
		p.press("\r")
		p.untilText(".problem", p.text("sign_in.refused"))
		p.accessible("a refused sign-in")
		p.fill("#token", shared.service.OperatorToken())
		p.press("\r")
		p.until("the page that was asked for is shown", `location.pathname.endsWith("/accounts") && location.search === "?q=x"`)
		if cookie := p.get("document.cookie"); cookie != "" {
			t.Errorf("scripts can read the cookies %q", cookie)
		}
		p.click("[popovertarget=menu]")
		p.click(`#menu [action="/console/sign-out"] .menu-item`)
		p.until("the sign-in is shown", `location.pathname === "/console/sign-in"`)
		p.goTo("/console/")
		p.until("nobody is signed in", `location.pathname === "/console/sign-in"`)
	})
}

func TestALinkSignsInOnceAndOnlyByItsButton(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 401")
		link := shared.service.SignInURL()[len(p.base):]
		p.goTo(link)
		p.goTo(link) // looking uses nothing up
		p.untilText("p", p.text("sign_in.link"))
		p.accessible("the page of a link")
		p.click(".button.primary")
		p.untilText("h1", p.text("apps.title"))
		other := openPage(t, shared, p.language)
		other.expect("status of 401")
		other.goTo(link)
		other.click(".button.primary")
		other.untilText(".problem", p.text("sign_in.link_used"))
	})
}

func TestALinkOnAnotherSiteLeadsToItsPageWhoeverIsSignedIn(t *testing.T) {
	app := shared.newApp(t, "Linked")
	p := openPage(t, shared, shared.languages[0])
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<link rel="icon" href="data:,"><a href="%s/console/apps/%s/accounts?q=x">look</a>`, p.base, app)
	}))
	t.Cleanup(chat.Close)
	follow := func() {
		p.run(chromedp.Navigate(strings.Replace(chat.URL, "127.0.0.1", "localhost", 1)))
		p.do(`document.querySelector("a").click()`)
		p.started()
	}
	follow()
	if at := p.get("location.pathname + location.search"); !strings.HasPrefix(at, "/console/sign-in?next=") {
		t.Errorf("whoever is not signed in is led to %s", at)
	}
	p.signIn(shared.service.OperatorToken(), "/console/")
	follow()
	p.untilText(".empty h2", p.text("list.no_match"))
	if at := p.get("location.pathname + location.search"); at != "/console/apps/"+app+"/accounts?q=x" {
		t.Errorf("the link leads to %s", at)
	}
}

func TestASessionEndsWithItsToken(t *testing.T) {
	app := shared.newApp(t, "Revoked")
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("status of 401")
		secret, id := shared.token(t, "viewer", app)
		p.signIn(secret, "/console/apps/"+app)
		shared.call(t, "DELETE", "/v1/tokens/"+id, nil)
		p.fill("#search", "somebody")
		p.until("the sign-in is shown", `location.pathname === "/console/sign-in"`)
	})
}

func TestLanguageAndThemeAreChosenAndKept(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		other := shared.languages[0]
		if other == p.language {
			other = shared.languages[1]
		}
		p.signIn(shared.service.OperatorToken(), "/console/")
		p.click("[popovertarget=menu]")
		p.click(`#menu [name=theme][value=dark]`)
		p.until("the page is dark", `document.documentElement.dataset.theme === "dark" && getComputedStyle(document.documentElement).colorScheme === "dark"`)
		p.click("[popovertarget=menu]")
		p.click(`#menu [name=language][value=` + other.Tag + `]`)
		p.untilText("h1", other.Text("apps.title"))
		p.goTo("/console/")
		p.untilText("h1", other.Text("apps.title"))
		p.until("the page is still dark", `document.documentElement.dataset.theme === "dark"`)
	})
}
