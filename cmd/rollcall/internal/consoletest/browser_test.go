package consoletest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"rollcall/handlers/console/i18n"
)

// patience bounds how long anything is waited for.
const patience = 20 * time.Second

// axeFile is what .ci/deps installs.
const axeFile = "../../../../.ci/tools/axe/node_modules/axe-core/axe.min.js"

// startBrowser starts a Chromium with an empty profile.
func startBrowser(dir string) (context.Context, context.CancelFunc, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.UserDataDir(dir), chromedp.Flag("disable-component-update", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	browser, stopBrowser := chromedp.NewContext(allocator)
	stop := func() { stopBrowser(); stopAllocator() }
	if err := chromedp.Do(browser); err != nil {
		stop()
		return nil, nil, fmt.Errorf("start Chromium, which .ci/deps installs: %w", err)
	}
	return browser, stop, nil
}

// page is a tab of a browser profile of its own.
type page struct {
	testing.TB
	ctx      context.Context
	language *i18n.Language
	base     string
	width    int64

	mu      sync.Mutex
	faults  []string // what the browser complained about
	allowed []string // parts of complaints that the test expects
}

// openPage opens a tab that wants a language. What the browser complains about until the test ends is an error of the test.
func openPage(t testing.TB, r *rig, l *i18n.Language) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(r.browser, chromedp.WithNewBrowserContext())
	p := &page{TB: t, ctx: ctx, language: l, base: r.service.URL()}
	if err := chromedp.Listen(ctx, p.heard); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.shot("failed")
		}
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, f := range p.faults {
			t.Errorf("the browser complained: %s", f)
		}
	})
	p.run(command(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": l.Tag}}),
		command(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Seoul"}),
		command(network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: "https://*:*/*", Block: true}}}))
	p.resize(1280, 860)
	return p
}

// command is a command of the protocol without an answer.
func command[P any](c cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (p *page) heard(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.complain(exception(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			p.complain(fmt.Sprint(e.Type, " ", argumentsOf(e)))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.complain(e.Entry.Text + " " + e.Entry.URL)
		}
	}
}

func exception(d *runtime.ExceptionDetails) string {
	if d.Exception != nil {
		return d.Text + " " + d.Exception.Description
	}
	return d.Text
}

func argumentsOf(e *runtime.EventConsoleAPICalled) string {
	var parts []string
	for _, a := range e.Args {
		parts = append(parts, string(a.Value)+a.Description)
	}
	return strings.Join(parts, " ")
}

func (p *page) complain(text string) {
	for _, a := range p.allowed {
		if strings.Contains(text, a) {
			return
		}
	}
	p.faults = append(p.faults, text)
}

// expect lets the browser complain of something: pictures that are not there, refusals that a test provokes.
func (p *page) expect(parts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = append(p.allowed, parts...)
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.Fatalf("in the browser: %v", err)
	}
}

func (p *page) resize(width, height int64) {
	p.Helper()
	p.width = width
	p.run(command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600}))
}

// theme has the system ask for light or dark.
func (p *page) theme(name string) {
	p.Helper()
	p.run(command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}))
}

func (p *page) goTo(path string) {
	p.Helper()
	p.run(chromedp.Navigate(p.base + path))
	p.started()
}

// started waits until the modules of the page have started.
func (p *page) started() {
	p.Helper()
	p.until("the page has started", `document.body?.dataset.started !== undefined`)
}

// signIn opens a path with the session of a token. How people sign in is tested where that is tested.
func (p *page) signIn(token, path string) {
	p.Helper()
	p.haveSession(token)
	p.goTo(path)
}

// haveSession gives the browser the session of a token.
func (p *page) haveSession(token string) {
	p.Helper()
	c := signedIn(p.TB, token).cookie
	p.run(command(network.SetCookies, network.SetCookiesParams{Cookies: []*network.CookieParam{{
		Name: c.Name, Value: c.Value, URL: p.base, Path: c.Path, HTTPOnly: true, SameSite: network.CookieSameSiteStrict,
	}}}))
}

// text is a message of the page's language.
func (p *page) text(key string, pairs ...any) string { return p.language.Text(key, pairs...) }

// eval evaluates an expression of JavaScript, a promise as well.
func eval[T any](p *page, expression string) T {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("in the browser: %v", err)
	}
	return v
}

// do evaluates an expression of JavaScript for what it does.
func (p *page) do(expression string) {
	p.Helper()
	eval[chromedp.Void](p, expression)
}

// until waits until a condition of JavaScript holds, across pages.
func (p *page) until(what, condition string) {
	p.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(
			`new Promise((done) => { const end = performance.now() + 1000; const look = async () => { let ok = false; try { ok = Boolean(await (%s)); } catch {} if (ok || performance.now() > end) done(ok); else setTimeout(look, 10); }; look(); })`,
			condition), chromedp.EvalAwaitPromise))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) || p.ctx.Err() != nil {
			p.Fatalf("waited for: %s (%s; %v)", what, condition, err)
		}
	}
}

// untilText waits until an element says something.
func (p *page) untilText(selector, text string) {
	p.Helper()
	p.until(selector+" says "+text, fmt.Sprintf(`[...document.querySelectorAll(%s)].some((el) => el.textContent.includes(%s) && el.checkVisibility())`, quote(selector), quote(text)))
}

// click clicks into the middle of an element.
func (p *page) click(selector string) {
	p.Helper()
	p.until(selector+" can be clicked", fmt.Sprintf(`document.body.dataset.started !== undefined && document.querySelector(%s)?.checkVisibility() && !document.querySelector(%[1]s).disabled`, quote(selector)))
	at := eval[[2]float64](p, fmt.Sprintf(`(() => { const el = document.querySelector(%s); el.scrollIntoView({ block: "nearest", behavior: "instant" }); const r = el.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`, quote(selector)))
	p.run(chromedp.MouseClickXY(at[0], at[1]))
}

// fill puts a text into a field as if it were pasted.
func (p *page) fill(selector, text string) {
	p.Helper()
	p.until(selector+" is there", fmt.Sprintf(`document.querySelector(%s)?.checkVisibility()`, quote(selector)))
	p.do(fmt.Sprintf(`(() => { const el = document.querySelector(%s); el.focus(); el.value = %s; el.dispatchEvent(new Event('input', { bubbles: true })); el.dispatchEvent(new Event('change', { bubbles: true })); })()`, quote(selector), quote(text)))
}

// press presses keys, one after the other, as a keyboard does: a key whose default is prevented types nothing.
func (p *page) press(keys string) {
	p.Helper()
	for _, r := range keys {
		down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: string(r), Text: string(r)}
		switch r {
		case '\r':
			down.Key, down.WindowsVirtualKeyCode = "Enter", 13
		case '\x1b':
			down.Key, down.Text, down.WindowsVirtualKeyCode = "Escape", "", 27
		}
		up := down
		up.Type, up.Text = input.DispatchKeyEventTypeKeyUp, ""
		p.run(command(input.DispatchKeyEvent, down), command(input.DispatchKeyEvent, up))
	}
}

// get returns the value of an expression as text.
func (p *page) get(expression string) string {
	p.Helper()
	return eval[string](p, "String("+expression+")")
}

// shot keeps a picture of the page.
func (p *page) shot(name string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.Logf("no picture of %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(p.ArtifactDir(), fmt.Sprintf("%s-%s-%d.png", name, p.language.Tag, p.width)), picture, 0o600); err != nil {
		p.Error(err)
	}
}

// accessible lets axe look at the page as it is: at the dialog where one is open, for what is behind it is out of reach.
func (p *page) accessible(what string) {
	p.Helper()
	p.axe(what, `['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']`)
}

// readable lets axe look at colours alone.
func (p *page) readable(what string) {
	p.Helper()
	p.axe(what, `{ type: 'rule', values: ['color-contrast'] }`)
}

func (p *page) axe(what, rules string) {
	p.Helper()
	source, err := os.ReadFile(axeFile)
	if err != nil {
		p.Fatalf("run .ci/deps: %v", err)
	}
	if p.get(`typeof axe`) == "undefined" {
		p.do(string(source))
	}
	violations := eval[[]struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}](p, fmt.Sprintf(`Promise.allSettled(document.getAnimations().filter((a) => a.effect.getComputedTiming().endTime < Infinity).map((a) => a.finished)).then(() => axe.run([...document.querySelectorAll('dialog[open], [popover]:popover-open')].at(-1) ?? document, { resultTypes: ['violations'], runOnly: %s })).then((r) => r.violations)`, rules))
	for _, v := range violations {
		for _, n := range v.Nodes {
			p.Errorf("axe on %s (%s): %s: %s\n%s\n%s", what, p.language.Tag, v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// key presses a key that has no character.
func key(name string, code int64) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
			if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: name, WindowsVirtualKeyCode: code}); err != nil {
				return err
			}
		}
		return nil
	})
}
