package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule tells what the packages at a path of the module may import. The first rule that
// matches a package holds for it.
type rule struct {
	of    string   // a package, or with /... a package and all below it
	own   []string // packages of this module, the same way
	other []string // packages of other modules, by prefix
}

// rules is the table of the design. The standard library is for everyone.
var rules = []rule{
	{of: "domain"},
	{of: "eventstore", other: []string{"github.com/oklog/ulid"}},
	{of: "eventstore/codec", own: []string{"domain", "eventstore"}},
	{of: "eventstore/streams", other: []string{"github.com/nats-io/"}},
	{of: "eventstore/jetstream", own: []string{"eventstore", "eventstore/disk", "eventstore/streams"}, other: natsParts},
	{of: "eventstore/disk"},
	{of: "eventstore/keyfile", own: []string{"eventstore/disk"}},
	{of: "eventstore/keyring", own: []string{"eventstore", "eventstore/keyfile", "eventstore/streams"}, other: append(natsParts, "github.com/oklog/ulid")},
	{of: "eventstore/ledger", own: []string{"eventstore", "eventstore/disk", "eventstore/keyfile", "eventstore/streams"}, other: append(natsParts, "golang.org/x/mod/sumdb")},
	{of: "eventstore/keyring/kms", own: []string{"eventstore/keyring"}, other: []string{"gocloud.dev/secrets"}},
	{of: "eventstore/storetest/freeport"},
	{of: "eventstore/storetest", own: []string{"eventstore", "eventstore/storetest/freeport"}, other: slices.Concat(natsParts, []string{"github.com/oklog/ulid", "pgregory.net/rapid", "github.com/anishathalye/porcupine"})},
	{of: "projections", own: []string{"eventstore"}},
	{of: "projections/accountlist", own: listImports},
	{of: "projections/accountlist/listtest", own: append(listImports, "projections/accountlist"), other: []string{"github.com/oklog/ulid", "pgregory.net/rapid"}},
	{of: "projections/accountlist/asof", own: append(listImports, "projections/accountlist", "projections/accountlist/sqlite")},
	{of: "projections/accountlist/sqlite/...", own: append(listImports, "projections/accountlist"), other: []string{"zombiezen.com/go/sqlite", "modernc.org", "golang.org/x/text"}},
	{of: "projections/accountlist/postgres/pglocal"},
	{of: "projections/accountlist/postgres/pgtest", own: []string{"eventstore/storetest/freeport", "projections/accountlist/postgres/pglocal"}, other: []string{"github.com/jackc/pgx"}},
	{of: "projections/accountlist/postgres/...", own: append(listImports, "projections/accountlist"), other: []string{"github.com/jackc/pgx", "github.com/pressly/goose"}},
	{of: "handlers/command", own: useCase, other: append(useCaseParts, "github.com/hashicorp/golang-lru")},
	{of: "handlers/query", own: useCase, other: useCaseParts},
	{of: "handlers/audit", own: useCase, other: useCaseParts},
	{of: "handlers/access", own: append(useCase, "eventstore/keyfile"), other: useCaseParts},
	{of: "handlers/erasure", own: useCase, other: useCaseParts},
	{of: "handlers/export", own: useCase, other: append(useCaseParts, "github.com/klauspost/compress", "github.com/parquet-go/parquet-go")},
	{of: "handlers/export/files", own: append(useCase, "handlers/export"), other: []string{"gocloud.dev", "github.com/aws/", "github.com/oklog/ulid"}},
	{of: "handlers/export/files/s3test"},
	{of: "handlers/webhook", own: append(useCase, "handlers/export"), other: useCaseParts},
	{of: "handlers/intake", own: append(useCase, "handlers/command", "handlers/export", "handlers/access"), other: useCaseParts},
	{of: "handlers/wire", own: []string{"domain", "eventstore", "handlers/access", "handlers/audit", "handlers/command", "handlers/export", "handlers/intake", "handlers/query", "handlers/webhook"}},
	{of: "handlers/httpapi/...", own: transport, other: []string{"github.com/danielgtaylor/huma", "github.com/oklog/ulid"}},
	{of: "handlers/console/i18n", other: []string{"golang.org/x/text"}},
	{of: "handlers/console/...", own: append(transport, "handlers/console/i18n"), other: []string{"golang.org/x/text"}},
	{of: "handlers/timrest/...", own: transport},
	{of: "handlers/messaging/...", own: slices.Concat(transport, []string{"eventstore/streams"}), other: slices.Concat(natsParts, []string{"github.com/ThreeDotsLabs/watermill", "github.com/oklog/ulid", "github.com/hashicorp/golang-lru", "github.com/prometheus/client_golang"})},
	{of: "cmd/...", own: []string{"..."}, other: []string{""}},
}

var (
	natsParts    = []string{"github.com/nats-io/", "github.com/synadia-io/orbit.go/"}
	listImports  = []string{"domain", "eventstore", "eventstore/codec", "projections"}
	useCase      = []string{"domain", "eventstore", "eventstore/codec"}
	useCaseParts = []string{"github.com/oklog/ulid"}
	transport    = append(useCase, "handlers/command", "handlers/query", "handlers/audit", "handlers/access", "handlers/erasure", "handlers/export", "handlers/intake", "handlers/webhook", "handlers/wire")
)

// matches tells whether a package is at the path, or below it where the path ends with /... .
func matches(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "..."); ok {
		below = strings.TrimSuffix(below, "/")
		return below == "" || pkg == below || strings.HasPrefix(pkg, below+"/")
	}
	return pkg == pattern
}

func TestPackagesImportOnlyWhatTheDesignAllows(t *testing.T) {
	root := moduleRoot(t)
	module := moduleName(t, root)
	packages := 0
	for pkg, files := range sourceFiles(t, root) {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.of, pkg) })
		if i < 0 {
			t.Errorf("package %s has no place in the design; give it a rule here and in the design", pkg)
			continue
		}
		packages++
		for _, file := range files {
			test := strings.HasSuffix(file, "_test.go")
			for _, imported := range importsOf(t, filepath.Join(root, file)) {
				if reason := forbidden(rules[i], module, pkg, imported, test); reason != "" {
					t.Errorf("%s imports %s: %s", file, imported, reason)
				}
			}
		}
	}
	if packages < len(rules)/2 {
		t.Errorf("only %d packages were found below %s", packages, root)
	}
}

// forbidden tells why a file of pkg may not import a package, nothing when it may.
func forbidden(r rule, module, pkg, imported string, test bool) string {
	own, isOwn := strings.CutPrefix(imported, module+"/")
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case !isOwn && !strings.Contains(first, "."):
		return "" // the standard library
	case isOwn && matches("cmd/...", own) && !matches("cmd/...", pkg):
		return "nobody imports cmd"
	case pkg == "domain":
		if test && (isOwn && own == "domain" || strings.HasPrefix(imported, "pgregory.net/rapid")) {
			return ""
		}
		return "the domain imports the standard library alone, its tests also rapid"
	case isOwn && matches("eventstore/storetest", own) && !test && pkg != "cmd/rollcall":
		return "only tests import the conformance suite"
	case isOwn && matches("handlers/export/files/s3test", own) && !test:
		return "only tests import the S3 server"
	case test:
		return "" // tests are run on real servers and whatever else they need
	case isOwn && slices.ContainsFunc(r.own, func(p string) bool { return matches(p, own) }):
		return ""
	case !isOwn && slices.ContainsFunc(r.other, func(p string) bool { return strings.HasPrefix(imported, p) }):
		return ""
	case isOwn:
		return "this package may import of the module only: " + strings.Join(r.own, ", ")
	}
	return "this package may import of other modules only: " + strings.Join(r.other, ", ")
}

func TestAForbiddenImportIsFound(t *testing.T) {
	for _, c := range []struct {
		pkg, imported string
		test, allowed bool
	}{
		{"domain", "time", false, true},
		{"domain", "rollcall/eventstore", false, false},
		{"domain", "github.com/oklog/ulid/v2", true, false},
		{"domain", "pgregory.net/rapid", true, true},
		{"eventstore", "rollcall/domain", false, false},
		{"eventstore/jetstream", "rollcall/eventstore/keyring", false, false},
		{"projections/accountlist/sqlite", "github.com/nats-io/nats.go", false, false},
		{"handlers/command", "rollcall/eventstore/jetstream", false, false},
		{"handlers/command", "rollcall/eventstore/jetstream", true, true},
		{"handlers/httpapi", "rollcall/projections/accountlist/sqlite", false, false},
		{"handlers/httpapi", "rollcall/handlers/command", false, true},
		{"handlers/httpapi", "rollcall/handlers/wire", false, true},
		{"handlers/messaging", "rollcall/handlers/httpapi", false, false},
		{"handlers/intake", "rollcall/handlers/wire", false, false},
		{"handlers/wire", "rollcall/handlers/httpapi", false, false},
		{"handlers/wire", "github.com/nats-io/nats.go", false, false},
		{"handlers/query", "rollcall/cmd/rollcall/internal/service", true, false},
		{"handlers/query", "rollcall/eventstore/storetest", false, false},
		{"cmd/rollcall", "rollcall/eventstore/jetstream", false, true},
		{"cmd/rollcall/internal/service", "rollcall/handlers/export/files/s3test", false, false},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.of, c.pkg) })
		if reason := forbidden(rules[i], "rollcall", c.pkg, c.imported, c.test); (reason == "") != c.allowed {
			t.Errorf("%s importing %s (in a test: %t): %q, want allowed %t", c.pkg, c.imported, c.test, reason, c.allowed)
		}
	}
}

// moduleRoot returns the folder of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("there is no go.mod in any folder above")
		}
		dir = up
	}
}

func moduleName(t *testing.T, root string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	t.Fatal("go.mod names no module")
	return ""
}

// sourceFiles returns the Go files of the module by package. The go command ignores
// folders that begin with a point or an underscore, and testdata.
func sourceFiles(t *testing.T, root string) map[string][]string {
	t.Helper()
	files := make(map[string][]string)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() && name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "vendor") {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ".go") {
			files[path.Dir(name)] = append(files[path.Dir(name)], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no Go files below %s", root)
	}
	for _, pkg := range slices.Sorted(maps.Keys(files)) {
		top, _, _ := strings.Cut(pkg, "/")
		if !slices.Contains([]string{"cmd", "domain", "eventstore", "projections", "handlers"}, top) {
			t.Errorf("%s is in a folder that the design does not have", pkg)
		}
	}
	return files
}

func importsOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	imports := make([]string, 0, len(f.Imports))
	for _, s := range f.Imports {
		name, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		imports = append(imports, name)
	}
	return imports
}
