package config

import (
	"encoding/json"
	"path/filepath"
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
