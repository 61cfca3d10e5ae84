package consoletest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
)

// accountsOf is how many accounts the benchmark has, a million unless ROLLCALL_BENCH_ACCOUNTS says otherwise.
func accountsOf(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("ROLLCALL_BENCH_ACCOUNTS"))
	if err != nil {
		return 1_000_000
	}
	return n
}

// tries is how often each figure is taken; the median counts.
const tries = 20

// BenchmarkTheListOfAMillionAccounts tells how long people wait, in a browser on the same machine: from the click on an application to its list, from the last
// key of a search to its result, and what a page weighs without pictures and without anything in the cache.
func BenchmarkTheListOfAMillionAccounts(b *testing.B) {
	n := accountsOf(b)
	app := shared.newApp(b, "Million")
	shared.fill(b, app, n)
	p := openPage(b, shared, shared.languages[1])
	p.signIn(shared.service.OperatorToken(), "/console/")
	// The address is fetched anew at each try, and what the page is made with comes from the cache, as for anybody on the second visit.
	weight := 0.0
	var painted, found []float64
	for try := range tries {
		p.goTo("/console/")
		p.do(`document.addEventListener("click", () => sessionStorage.setItem("clicked", performance.timeOrigin + performance.now()), true)`)
		p.click(`.app-card h2 a[href$="` + app + `"]`)
		p.until("the list is painted", `document.querySelectorAll("#rows tr[data-id]").length === 50 && performance.getEntriesByName("first-contentful-paint").length === 1`)
		painted = append(painted, eval[float64](p, `performance.timeOrigin + performance.getEntriesByName("first-contentful-paint")[0].startTime - Number(sessionStorage.getItem("clicked"))`))
		if try == 0 {
			weight = eval[float64](p, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, e) => sum + e.encodedBodySize, 0) / 1000`)
		}
		found = append(found, eval[float64](p, fmt.Sprintf(`new Promise((done) => {
			const search = document.querySelector("#search");
			let last;
			new MutationObserver((_, observer) => { observer.disconnect(); requestAnimationFrame(() => setTimeout(() => done(performance.now() - last))); }).observe(document.querySelector("#table"), { childList: true });
			const text = %s;
			let i = 0;
			const type = () => { search.value = text.slice(0, ++i); last = performance.now(); search.dispatchEvent(new Event("input", { bubbles: true })); if (i < text.length) setTimeout(type, 20); };
			type();
		})`, quote([]string{"p0123", "Person 77", "person", "p", "99999"}[try%5]))))
	}
	slices.Sort(painted)
	slices.Sort(found)
	b.ReportMetric(float64(n), "accounts")
	b.ReportMetric(painted[tries/2], "ms-to-list")
	b.ReportMetric(found[tries/2], "ms-to-result")
	b.ReportMetric(found[tries-1], "ms-to-slowest-result")
	b.ReportMetric(weight, "kB-page")
	b.ReportMetric(0, "ns/op")
}
