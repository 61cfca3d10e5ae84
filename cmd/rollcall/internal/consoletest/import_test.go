package consoletest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
)

// openImport signs in and opens the page that imports a file, by its button.
func (p *page) openImport(app string) {
	p.Helper()
	p.openList(app)
	p.click(`a[href$="/import"]`)
	p.until("the page to import is there", `document.querySelector("#import-drop") && document.body.dataset.started !== undefined`)
}

// chooseFile puts a file into the field. content is an expression of JavaScript.
func (p *page) chooseFile(name, content string) {
	p.Helper()
	p.do(fmt.Sprintf(`(() => { const t = new DataTransfer(); t.items.add(new File([%s], %s)); const f = document.querySelector("#import-file"); f.files = t.files; f.dispatchEvent(new Event("change", { bubbles: true })); })()`, content, quote(name)))
	p.until(name+" is shown", `document.querySelector("#import-preview").checkVisibility() && document.querySelector("#import-name").textContent === `+quote(name))
}

// dropFile drops a file on the page.
func (p *page) dropFile(name, content string) {
	p.Helper()
	p.do(fmt.Sprintf(`(() => { const dataTransfer = new DataTransfer(); dataTransfer.items.add(new File([%s], %s)); document.querySelector("#import-drop").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true })); })()`, content, quote(name)))
	p.until(name+" is shown", `document.querySelector("#import-preview").checkVisibility() && document.querySelector("#import-name").textContent === `+quote(name))
}

// rowsOfPiece is how many rows of longRows a piece takes.
const rowsOfPiece = 30

// longRows is an expression for lines that fill pieces although they are few.
func longRows(prefix string, n int) string {
	return fmt.Sprintf(`Array.from({ length: %d }, (_, i) => JSON.stringify({ user_id: %s + i, nickname: "<i>" + i }).padEnd(32767) + "\n").join("")`, n, quote(prefix))
}

// figures is what became of the rows: created, edited, unchanged, failed, unknown.
const figures = `[...document.querySelectorAll("[data-figure]")].map((el) => el.textContent).join(" ")`

// saved presses a button that keeps a file, and returns what it keeps.
func (p *page) saved(selector string) string {
	p.Helper()
	p.do(`(() => { const make = URL.createObjectURL; URL.createObjectURL = (blob) => { globalThis.kept = blob; URL.createObjectURL = make; return make(blob); }; })()`)
	p.click(selector)
	p.until("a file is kept", `globalThis.kept`)
	return eval[string](p, `globalThis.kept.text().finally(() => { delete globalThis.kept; })`)
}

// hostileTable has rows for accounts that do their worst, and rows that fail for one reason each.
var hostileTable = strings.Join([]string{
	"user_id,nickname,type,face_url",
	`table-1,"<img src=x onerror=""alert(1)"">` + "\n" + `and, a line",normal,`,
	"table-2,user\u202egnp.exe,,https://img.invalid/1.png",
	`table-3,김민준,boss,`,
	`"=HYPERLINK(""x"")",formula,king,`,
	`table-4,too,many,cells,here`,
	`table-1,again,,`,
	"", // an empty line
	`table-5,'=1+1,,`,
}, "\r\n")

func TestATableOfAccountsIsImported(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		app := shared.newApp(t, "Import")
		p.theme("light")
		p.openImport(app)
		p.shot("import-choose")
		p.accessible("choosing a file")
		p.dropFile("<b>계정.csv", quote(hostileTable))
		p.untilText("#import-problems", p.text("import.ragged", "line", 7))
		if rows := p.get(`[...document.querySelectorAll("#import-rows tbody tr")].map((tr) => tr.cells[0].textContent + tr.cells[1].textContent).join(" ")`); rows != `2table-1 4table-2 5table-3 6=HYPERLINK("x") 7table-4 8table-1 10table-5` {
			t.Errorf("the preview shows %s", rows)
		}
		p.untilText("#import-rows .mark", "U+202E")
		p.shot("import-preview")
		p.accessible("the preview of a table")
		p.click("#import-start")
		p.untilText("#import-state", p.text("import.done", "n", 7))
		p.until("each row is counted", figures+` === "3 0 0 4 0"`)
		p.untilText("#import-failures tbody", p.text("error.account_exists"))
		p.untilText("#import-failures tbody", p.text("field.type")+": "+p.text("fault.invalid_value"))
		p.untilText("#import-failures tbody", p.text("error.malformed_row"))
		if lines := p.get(`[...document.querySelectorAll("#import-failures tbody th")].map((th) => th.textContent).join(" ")`); lines != "5 6 7 8" {
			t.Errorf("lines %s failed", lines)
		}
		p.shot("import-report")
		p.accessible("the report of an import")
		failed, all := p.saved("#import-failed"), p.saved("#import-all")
		if strings.Count(failed, "\r\n") != 5 || strings.Count(all, "\r\n") != 8 || !strings.Contains(all, "\r\n10,table-5,created,") {
			t.Errorf("the reports are\n%s\n%s", failed, all)
		}
		if !strings.Contains(failed, `6,"'=HYPERLINK(""x"")",failed,validation_failed,`) {
			t.Errorf("a formula is not guarded in\n%s", failed)
		}
		p.theme("dark")
		p.until("colours have changed", `getComputedStyle(document.querySelector("#import-again")).backgroundColor === "rgb(22, 24, 29)"`)
		p.readable("the report of an import, dark")
		p.resize(390, 844)
		p.shot("import-report")
		if p.get(`document.documentElement.scrollWidth > 390`) == "true" {
			t.Error("the page is wider than a phone")
		}
		if a := shared.call(t, http.MethodGet, "/v1/apps/"+app+"/accounts/table-1", nil); a["nickname"] != "<img src=x onerror=\"alert(1)\">\nand, a line" {
			t.Errorf("the account is %v", a)
		}
		if a := shared.call(t, http.MethodGet, "/v1/apps/"+app+"/accounts/table-5", nil); a["nickname"] != "=1+1" {
			t.Errorf("the account is %v", a)
		}
	})
}

func TestAnImportThatBrokeOffGoesOnWithoutDoingAnythingTwice(t *testing.T) {
	inEachLanguage(t, func(t *testing.T, p *page) {
		p.expect("ERR_BLOCKED_BY_CLIENT")
		app := shared.newApp(t, "Lines")
		shared.create(t, app, account{"user_id": "line-1", "nickname": "before"})
		p.openImport(app)
		p.chooseFile("accounts.ndjson", longRows("line-", 100)+` + "{not JSON}"`)
		p.untilText("#import-rows tbody", "<i>0")
		p.do(`document.querySelector("[name=mode][value=upsert]").click()`)
		reachable := func(yes bool) {
			p.run(command(network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: "http://*:*/v1/*", Block: !yes}}}))
		}
		reachable(false)
		p.click("#import-start")
		p.untilText("#import-state", p.text("import.broken"))
		p.untilText("#import-broken", p.text("import.doubtful", "line", 1))
		p.shot("import-broken")
		p.accessible("an import that broke off")
		if gap := p.saved("#import-all"); !strings.Contains(gap, "\r\n1,,unknown,,") {
			t.Errorf("the report does not tell of rows that are not known:\n%s", gap)
		}
		reachable(true)
		p.click("#import-go-on")
		p.untilText("#import-state", p.text("import.done", "n", 101))
		p.until("each row is counted", figures+` === "99 1 0 1 0"`)
		if lines := p.get(`[...document.querySelectorAll("#import-failures tbody th")].map((th) => th.textContent).join(" ")`); lines != "101" {
			t.Errorf("lines %s failed", lines)
		}
		if n := strings.Count(p.saved("#import-all"), "\r\n"); n != 102 {
			t.Errorf("the report has %d lines", n)
		}
		p.click("#import-again")
		p.until("another file may be chosen", `document.querySelector("#import-drop").checkVisibility()`)
	})
}

func TestAnImportIsStoppedBetweenPieces(t *testing.T) {
	app := shared.newApp(t, "Stop")
	p := openPage(t, shared, shared.languages[0])
	p.openImport(app)
	p.chooseFile("stop.ndjson", longRows("stop-", 61))
	p.do(`document.querySelector("#import-start").click(); document.querySelector("#import-stop").click()`)
	p.untilText("#import-state", p.text("import.stopped", "n", rowsOfPiece))
	p.click("#import-go-on")
	p.untilText("#import-state", p.text("import.done", "n", 61))
	p.until("each row is counted", figures+` === "61 0 0 0 0"`)

	// Stopped twice as soon as there are results, it is broken off wherever it is.
	p.click("#import-again")
	p.chooseFile("twice.ndjson", longRows("twice-", 121))
	p.do(`(() => {
		const stop = document.querySelector("#import-stop");
		const look = new MutationObserver(() => { look.disconnect(); stop.click(); stop.click(); });
		document.querySelector("#import-start").click();
		look.observe(document.querySelector("[data-figure=created]"), { childList: true });
	})()`)
	p.click("#import-go-on")
	p.untilText("#import-state", p.text("import.done", "n", 121))
	p.until("each row is counted", figures+` === "121 0 0 0 0"`)
	if n := strings.Count(p.saved("#import-all"), ",created,"); n != 121 {
		t.Errorf("the report has %d accounts that were created", n)
	}
}

func TestAFileThatTheServiceWouldRefuseIsNotStarted(t *testing.T) {
	app := shared.newApp(t, "Refused")
	p := openPage(t, shared, shared.languages[1])
	p.openImport(app)
	for _, c := range []struct{ name, content, problem string }{
		{"columns.csv", `"user_id,nick name\na,b"`, p.text("import.unknown_column", "name", "nick name")},
		{"twice.csv", `"user_id,user_id\na,b"`, p.text("import.column_twice", "name", "user_id")},
		{"nameless.csv", `"nickname\na"`, p.text("import.no_user_id")},
		{"latin.csv", `new Uint8Array([0x75, 0xe9, 0x0a])`, p.text("import.encoding")},
		{"empty.ndjson", `"\n \n"`, p.text("import.empty")},
	} {
		p.chooseFile(c.name, c.content)
		p.untilText("#import-problems li", c.problem)
		if p.get(`document.querySelector("#import-start").disabled`) != "true" {
			t.Errorf("%s can be started", c.name)
		}
	}
	p.chooseFile("unnamed", `"{\"user_id\":\"a\",\"nick name\":1}\n{}\n7"`)
	for _, problem := range []string{p.text("import.unknown_field", "name", "nick name"), p.text("import.row_no_user_id", "line", 2), p.text("import.not_json", "line", 3)} {
		p.untilText("#import-problems li", problem)
	}
	if p.get(`document.querySelector("#import-start").disabled`) != "false" {
		t.Error("a file of which some rows can be imported cannot be started")
	}
}

// sliced cuts a file in the browser, and tells of each piece where it begins and what its body holds.
func (p *page) sliced(name, content string) []struct {
	Line, Rows, Skipped int
	Size, From, To      int64
	Begins, Ends        string
	Whole               bool // each record of it has its end, and the same number of cells
} {
	p.Helper()
	return eval[[]struct {
		Line, Rows, Skipped int
		Size, From, To      int64
		Begins, Ends        string
		Whole               bool
	}](p, fmt.Sprintf(`(async () => {
		const { pieces } = await import(new URL("import-file.js", document.querySelector("script[type=module]").src));
		const all = [];
		for await (const x of pieces(new File([%s], %[2]s), %[2]s.endsWith(".csv"))) {
			const text = await x.body.text();
			all.push({ Line: x.line, Rows: x.rows, Skipped: x.skipped, Size: x.body.size, From: x.from, To: x.to, Begins: text.slice(0, 40), Ends: text.slice(-14), Whole: (text.match(/"/g) ?? []).length %% 2 === 0 });
		}
		return all;
	})()`, content, quote(name)))
}

func TestAFileIsCutOnlyWhereItsRecordsEnd(t *testing.T) {
	app := shared.newApp(t, "Pieces")
	p := openPage(t, shared, shared.languages[0])
	p.openImport(app)
	// Each record takes two lines, has quotes within quotes and line breaks that look like records.
	cut := p.sliced("many.csv", `"\r\n\ufeffuser_id,nickname\r\n" + Array.from({ length: 25_000 }, (_, i) => "r" + i + ",\"a \"\"b\"\",\r\nr0,c\"\r\n").join("") + "last,\"no\nend\""`)
	if len(cut) != 3 {
		t.Fatalf("%d pieces: %+v", len(cut), cut)
	}
	at, rows := cut[0].From, 0
	for i, c := range cut {
		if c.From != at || !c.Whole || c.Skipped != 1 || c.Line != 3+2*rows || !strings.HasPrefix(c.Begins, fmt.Sprintf("user_id,nickname\r\nr%d,\"a \"\"b\"\",", rows)) {
			t.Errorf("piece %d is %+v", i, c)
		}
		at, rows = c.To, rows+c.Rows
	}
	if rows != 25_001 || !strings.HasSuffix(cut[2].Ends, "last,\"no\nend\"") {
		t.Errorf("%d rows, the last piece is %+v", rows, cut[2])
	}
	// Rows that are long fill a piece before they are many, across the borders of what is read at once.
	cut = p.sliced("long.ndjson", `Array.from({ length: 300 }, (_, i) => JSON.stringify({ user_id: "u" + i, location: "가".repeat(5000) }) + "\n").join("")`)
	rows = 0
	for i, c := range cut {
		if c.Size > 1<<20 || c.Size != c.To-c.From || c.Line != rows+1 || !strings.HasPrefix(c.Begins, fmt.Sprintf(`{"user_id":"u%d",`, rows)) || !strings.HasSuffix(c.Ends, "\"}\n") {
			t.Errorf("piece %d is %+v", i, c)
		}
		rows += c.Rows
	}
	if rows != 300 || len(cut) < 4 {
		t.Errorf("%d rows in %d pieces", rows, len(cut))
	}
}
