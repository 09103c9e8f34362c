package cmd_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFieldsOfTheLogHaveOneType: in a log of JSON a field is of one type in all lines,
// since tools make a column of it. What makes text of errors, times and whatever has a
// String is master.NewLogHandler.
func TestFieldsOfTheLogHaveOneType(t *testing.T) {
	t.Parallel()
	places := map[string]map[string][]string{} // by field and type
	for _, p := range typed(t) {
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && p.path != module+"master" {
					if u := p.info.Uses[id]; u != nil && u.Pkg() != nil && u.Pkg().Path() == "log/slog" && u.Name() == "NewJSONHandler" {
						t.Errorf("%s: what writes the log is master.NewLogHandler", p.set.Position(id.Pos()))
					}
				}
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, a := range p.fieldsOf(call) {
					if places[a.key] == nil {
						places[a.key] = map[string][]string{}
					}
					places[a.key][a.kind] = append(places[a.key][a.kind], p.set.Position(call.Pos()).String())
				}
				return true
			})
		}
	}
	if len(places["error"]["string"]) < 20 || len(places["took"]) == 0 {
		t.Fatalf("hardly a line is found: %v", places)
	}
	for _, key := range slices.Sorted(maps.Keys(places)) {
		if kinds := places[key]; len(kinds) > 1 {
			for kind, at := range kinds {
				t.Errorf("%q is of type %s at %s", key, kind, strings.Join(at, ", "))
			}
		}
	}
}

// typedPackage is a package of the program with its types.
type typedPackage struct {
	path  string
	set   *token.FileSet
	files []*ast.File
	info  *types.Info
}

// typed reads all packages of the program.
func typed(t *testing.T) (list []typedPackage) {
	t.Helper()
	c := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Export,Dir,GoFiles", "./...")
	c.Dir = ".."
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	type listed struct {
		ImportPath, Export, Dir string
		GoFiles                 []string
	}
	exports, ours := map[string]string{}, []listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if name, is := strings.CutPrefix(p.ImportPath, module); is && !strings.HasPrefix(name, "cmd/pushbench") && !strings.HasPrefix(name, "cmd/pushdtest") {
			ours = append(ours, p)
		}
	}
	set := token.NewFileSet()
	from := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, p := range ours {
		tp := typedPackage{path: p.ImportPath, set: set, info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			tp.files = append(tp.files, f)
		}
		if _, err := (&types.Config{Importer: from, FakeImportC: true}).Check(p.ImportPath, set, tp.files, tp.info); err != nil {
			t.Fatalf("%s: %v", p.ImportPath, err)
		}
		list = append(list, tp)
	}
	return list
}

// logged is a field of a line.
type logged struct{ key, kind string }

// fieldsOf returns what a call of slog logs.
func (p *typedPackage) fieldsOf(call *ast.CallExpr) (list []logged) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	f, ok := p.info.Uses[sel.Sel].(*types.Func)
	if !ok || f.Pkg() == nil || f.Pkg().Path() != "log/slog" || call.Ellipsis.IsValid() {
		return nil
	}
	s := f.Signature()
	if last := s.Params().Len() - 1; !s.Variadic() || s.Params().At(last).Type().String() != "[]any" {
		return nil
	}
	args := call.Args[s.Params().Len()-1:]
	for i := 0; i+1 < len(args); i += 2 {
		if key := p.info.Types[args[i]].Value; key != nil && key.Kind() == constant.String {
			if kind := kindOf(p.info.Types[args[i+1]].Type); kind != "" {
				list = append(list, logged{constant.StringVal(key), kind})
			}
		}
	}
	return list
}

// kindOf returns what becomes of a value in a line of JSON; "" = anything.
func kindOf(t types.Type) string {
	for _, method := range []string{"Error", "String", "MarshalText"} {
		if m, _, _ := types.LookupFieldOrMethod(t, true, nil, method); m != nil {
			return "string"
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Info()&types.IsString != 0:
			return "string"
		case u.Info()&types.IsNumeric != 0:
			return "number"
		case u.Info()&types.IsBoolean != 0:
			return "bool"
		}
	case *types.Interface:
		return ""
	case *types.Slice:
		return "list"
	}
	return "object"
}
