package config

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pushd/pushd/protocol/script"
)

// scriptKeys stand beside `script` in [[worker]]; they are the options of the
// handler "script".
var scriptKeys = []string{"script", "dir", "env", "queue", "callback", "start", "memory", "max_messages", "after_crash", "watch", "title", "output", "allow_root"}

// script reads `script = "php start.php"` and the keys beside it: another way to
// write handler = { handler = "script", options = {…} }. Names of files count
// from the folder of the config.
func (t *table) script(handler *Route) *Route {
	options := map[string]any{}
	for _, key := range scriptKeys {
		if v, ok := t.filed(key); ok {
			options[key] = v.any
		}
	}
	r := Route{Handler: "script"}
	if _, ok := t.filed("script"); !ok {
		for key := range options {
			t.fail(t.where(key), `belongs to script = "…", which is missing`)
		}
		return handler
	}
	r.At = t.where("script")
	if handler != nil {
		t.fail(r.At, "handler is set too: use one of them")
	}
	if t.file != "" {
		dir, _ := options["dir"].(string)
		if !filepath.IsAbs(dir) {
			options["dir"] = filepath.Join(filepath.Dir(t.file), dir)
		}
	}
	t.list("origins", &r.Origins)
	t.list("protocols", &r.Protocols)
	raw, err := json.Marshal(options)
	if err != nil {
		t.fail(r.At, "%v", err)
		return handler
	}
	r.Options = raw
	return &r
}

// PHP returns the command of `script = "php start.php"` and the options beside it:
// a program that says itself which groups it has, what they listen on and their
// counts. It is nil for all other workers. What PHP runs with flags is its own.
func (w *Worker) PHP() (command []string, options map[string]any) {
	if w.Handler == nil || w.Handler.Handler != "script" || json.Unmarshal(w.Handler.Options, &options) != nil {
		return nil, nil
	}
	switch list := options["script"].(type) {
	case string:
		command, _ = script.Split(list) // the handler says what is wrong with it
	case []any:
		for _, word := range list {
			text, _ := word.(string)
			command = append(command, text)
		}
	}
	if len(command) < 2 || !phpBinary.MatchString(filepath.Base(command[0])) || strings.HasPrefix(command[1], "-") {
		return nil, nil
	}
	return command, options
}

var phpBinary = regexp.MustCompile(`^php[0-9.]*$`)

// unread returns where those of the keys stand that a PHP program's table has.
func (t *table) unread(keys ...string) (at []string) {
	for _, key := range keys {
		if _, set := t.values[key]; set {
			at = append(at, t.where(key))
		}
	}
	return at
}

// Unread says which lines beside PHP programs do nothing, each with its place.
func (c *Config) Unread() (notes []string) {
	for _, at := range c.unread {
		notes = append(notes, at+": does nothing: the PHP program says itself which groups it has, what they listen on, and their counts")
	}
	return notes
}
