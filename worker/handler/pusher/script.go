package pusher

import (
	_ "embed" // recover.js
	"net/http"
)

// scriptName stands in a path where else an app's key does, so that the script
// is where the clients connect, with no route of its own. A key has no such end
// in practice, and a client of an app that has one connects all the same.
const scriptName = "recover.js"

// script makes the stock pusher-js ask for what was sent while it was away.
//
//go:embed recover.js
var script []byte

// recoverScript serves the script to pages of any origin, also to those that
// load it with crossorigin or an integrity hash.
func (k *call) recoverScript() {
	if k.r.Method != http.MethodGet && k.r.Method != http.MethodHead {
		k.w.Header().Set("Allow", "GET, HEAD")
		k.fail(&fault{http.StatusMethodNotAllowed, "this path takes GET"})
		return
	}
	for name, value := range map[string]string{
		"Content-Type":                 "text/javascript; charset=utf-8",
		"X-Content-Type-Options":       "nosniff",
		"Cache-Control":                "public, max-age=3600",
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
	} {
		k.w.Header().Set(name, value)
	}
	_, _ = k.w.Write(script) // the client may be gone
	k.w.End()
}
