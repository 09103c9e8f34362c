package php_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/script"
)

// lazily is a program whose classes come with its first client.
const lazily = `spl_autoload_register(function ($class) { if (is_file($f = __DIR__ . "/$class.php")) require $f; elseif ($class === 'Model') exit('too early'); });
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $data) { include __DIR__ . '/page.php'; $c->send((new User)->name($data)); };
Workerman\Worker::runAll();`

// TestChanged: what the process before has loaded and this one has not yet is looked at
// before it is ready.
func TestChanged(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string // beside the program
		wrong string            // what is said; "" = it is ready
		old   bool              // all were there when the process before was started
	}{
		"parse":     {files: map[string]string{"User.php": "class User {\n function (\n}"}, wrong: "syntax error, unexpected token \"(\" in {dir}/User.php:3"},
		"redeclare": {files: map[string]string{"User.php": "class User {\n function a() {}\n function a() {} }"}, wrong: "Cannot redeclare User::a() in {dir}/User.php on line 4"},
		"interface": {files: map[string]string{"User.php": "\nclass User implements Missing {}"}, wrong: "Interface \"Missing\" not found in {dir}/User.php:3"},
		"parent": {files: map[string]string{
			"User.php": "class User extends Base {}", "Base.php": "class Base { abstract function a(); }",
		}, wrong: "Class Base contains 1 abstract method"},
		"template":            {files: map[string]string{"page.php": "?><b>a</b>\n<?php }"}, wrong: "Unmatched '}' in {dir}/page.php:3"},
		"no change":           {files: map[string]string{"User.php": "class User {"}, old: true},
		"printed by the page": {files: map[string]string{"page.php": "echo 'too early'; exit;"}},
		"class and deed":      {files: map[string]string{"User.php": "class User {} echo 'too early'; exit;"}},
		"function":            {files: map[string]string{"page.php": "function page() {}"}},
		"in one another": {files: map[string]string{
			"User.php":  "declare(strict_types=1);\nuse Other\\{A, B};\n/** It is one. */\nfinal class User implements Named { use Counts; function name($n) { return \"{$n} ${n} } {\"; } }",
			"Named.php": "interface Named {}", "Counts.php": "trait Counts {}",
		}},
		"of another name":         {files: map[string]string{"models.php": "class Model {}"}},
		"comes with an alias":     {files: map[string]string{"User.php": "class User extends Base {}", "page.php": "class_alias('Room', 'Base'); echo 'too early';"}},
		"comes with another file": {files: map[string]string{"User.php": "class User implements Named {}", "page.php": "interface Named {} echo 'too early';"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := program(t, lazily)
			dir := filepath.Dir(file)
			before := &script.Before{Files: []string{file, filepath.Join(dir, "gone.php")}, Since: time.Now().Unix() - 1}
			if test.old {
				before.Since += 3600
			}
			for _, name := range slices.Sorted(maps.Keys(test.files)) {
				before.Files = append(before.Files, filepath.Join(dir, name))
				must(t, os.WriteFile(filepath.Join(dir, name), []byte("<?php\n"+test.files[name]), 0o644))
			}
			h := beside(t, file, "start", before)
			f, err := h.in.Next()
			if ready := err == nil && f.Op == script.Ready; ready != (test.wrong == "") {
				t.Errorf("ready is %v\n%s", ready, h.log)
			}
			if wrong := strings.ReplaceAll(test.wrong, "{dir}", dir); !strings.Contains(h.log.String(), wrong) || strings.Contains(h.log.String(), "too early") {
				t.Errorf("%s\nhas no %q", h.log, wrong)
			}
		})
	}
}

// TestChangedMoved: a release has a folder of its own, where all of it counts as changed.
func TestChangedMoved(t *testing.T) {
	file := program(t, lazily)
	dir := filepath.Dir(file)
	must(t, os.WriteFile(filepath.Join(dir, "User.php"), []byte("<?php class User {"), 0o644))
	h := beside(t, file, "start", &script.Before{Files: []string{"/srv/1/start.php", "/srv/1/User.php"}, Since: time.Now().Unix() + 3600})
	if f, err := h.in.Next(); err == nil {
		t.Errorf("%v", f.Op)
	}
	h.says("Unclosed '{' in " + dir + "/User.php:1")
}
