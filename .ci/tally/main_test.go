package main

import (
	"strings"
	"testing"
)

func TestTallyCountsWhatFailedWhateverTheReason(t *testing.T) {
	for _, c := range []struct {
		name, in string
		failed   int
		last     string
	}{
		{"all pass", `{"Action":"run","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p"}`, 0, "1 passed, 0 failed"},
		{"one fails, and is not counted again as its package", `{"Action":"run","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}`, 1, "0 passed, 1 failed"},
		{"a package that does not build", `{"Action":"build-output","ImportPath":"p","Output":"broken\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p"}`, 1, "0 passed, 1 failed"},
		{"a test that skips itself", `{"Action":"run","Package":"p","Test":"A"}
{"Action":"skip","Package":"p","Test":"A"}
{"Action":"pass","Package":"p"}`, 1, "0 passed, 1 failed"},
		{"a test that did not end", `{"Action":"run","Package":"p","Test":"A"}`, 1, "0 passed, 1 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			failed, err := tally(strings.NewReader(c.in), &out)
			if err != nil || failed != c.failed {
				t.Errorf("%d failed, want %d: %v", failed, c.failed, err)
			}
			if !strings.HasSuffix(out.String(), "\n"+c.last+"\n") && out.String() != c.last+"\n" {
				t.Errorf("the last line of %q is not %q", out.String(), c.last)
			}
		})
	}
	if _, err := tally(strings.NewReader(`{"Action":"skip","Package":"p"}`), &strings.Builder{}); err == nil {
		t.Error("no test at all is no success")
	}
}
