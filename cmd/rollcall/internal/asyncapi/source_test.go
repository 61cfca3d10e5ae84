package asyncapi_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// source returns the files of a package, or of all below a folder, without tests. What it declares is looked up
// there, so that nothing that is new can be forgotten.
func source(t testing.TB, below string) (files []*ast.File) {
	t.Helper()
	dir, recursive := strings.CutSuffix(below, "/...")
	err := fs.WalkDir(os.DirFS(filepath.Join(root, dir)), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != "." && (!recursive || path.Base(name) == "testdata"):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, dir, name), nil, 0)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// named is a constant.
type named struct {
	name  string
	value constant.Value
}

// constants returns the constants of a package whose type has a name. An empty one is for those that declare none.
func constants(t testing.TB, pkg, typ string) (found []named) {
	t.Helper()
	for _, f := range source(t, pkg) {
		for _, decl := range f.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.CONST {
				continue
			}
			for _, spec := range general.Specs {
				found = append(found, constantsOf(spec.(*ast.ValueSpec), typ)...)
			}
		}
	}
	return found
}

// constantsOf returns those constants whose value can be told without their package.
func constantsOf(spec *ast.ValueSpec, typ string) (found []named) {
	if typeName(spec.Type) != typ {
		return nil
	}
	for i, name := range spec.Names {
		if i >= len(spec.Values) {
			continue
		}
		v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, types.ExprString(spec.Values[i]))
		if err == nil && v.Value != nil {
			found = append(found, named{name.Name, v.Value})
		}
	}
	return found
}

// typeName returns the name of a type without its package.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.StarExpr:
		return typeName(e.X)
	}
	return ""
}

// values returns the texts of the constants whose names begin with a prefix.
func values(found []named, prefix string) (all []string) {
	for _, c := range found {
		if strings.HasPrefix(c.name, prefix) && c.value.Kind() == constant.String {
			all = append(all, constant.StringVal(c.value))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// members returns the JSON names of the fields of a struct, and those of them that are always written.
func members(t testing.TB, pkg, typ string) (names, always []string) {
	t.Helper()
	for _, f := range source(t, pkg) {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != typ {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range fields.Fields.List {
				if field.Tag == nil {
					continue
				}
				tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
				name, options, _ := strings.Cut(tag, ",")
				if name == "" || name == "-" {
					continue
				}
				names = append(names, name)
				if !strings.Contains(options, "omit") {
					always = append(always, name)
				}
			}
			return true
		})
	}
	if len(names) == 0 {
		t.Fatalf("package %s has no struct %s with JSON names", pkg, typ)
	}
	return names, always
}
