package mercure

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// metadataPath stands before the hub's own path (RFC 9728).
const metadataPath = "/.well-known/oauth-protected-resource"

// OnRequest answers what comes to the hub's URL and below.
func (h *Handler) OnRequest(w *worker.Response, r *worker.Request) {
	path := r.URL.EscapedPath()
	which, api := h.hub.ParseResource(path)
	fn, methods := func(w *worker.Response, r *worker.Request) { h.list(w, r, path, which) }, "GET, HEAD"
	switch {
	case path == metadataPath+h.hub.Path():
		fn = h.metadata
	case path == h.hub.Path():
		fn, methods = h.subscribe, "GET, HEAD, POST"
	case !api || !h.opt.Subscriptions:
		fail(w, http.StatusNotFound, "there is nothing of the hub at this path")
		return
	}
	exposed := "Link, Mercure-Last-Event-ID"
	if h.opt.Compat {
		exposed += ", Last-Event-ID"
	}
	w.Header().Set("Access-Control-Expose-Headers", exposed)
	switch {
	case !w.AllowOrigin(r, methods):
	case !slices.Contains(strings.Split(methods, ", "), r.Method):
		w.Header().Set("Allow", methods+", OPTIONS")
		fail(w, http.StatusMethodNotAllowed, "this takes "+methods+", OPTIONS")
	case r.Method == http.MethodPost:
		h.publish(w, r)
	default:
		fn(w, r)
	}
}

// metadata tells clients what tokens the hub takes (RFC 9728).
func (h *Handler) metadata(w *worker.Response, _ *worker.Request) {
	answer(w, "application/json", map[string]any{
		"resource":                              h.opt.Audience,
		"authorization_details_types_supported": []string{wire.DetailType},
		"bearer_methods_supported":              []string{"header"},
		"mercure_cookie":                        h.opt.Cookie,
		"mercure_matcher_types_supported":       []string{wire.Exact, wire.URLPattern},
		"mercure_subscriptions":                 h.opt.Subscriptions,
	})
}

func answer(w *worker.Response, media string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(b)
}

// sameSite reports whether a request with a cookie may change something: the page
// that it comes from must be one that the route's origins name, for which cookies
// are; one that "*" lets in is anybody's. Which page that is Origin says, or
// Referer; without either nobody knows.
func sameSite(w *worker.Response, r *worker.Request) bool {
	if r.Header.Get("Origin") != "" {
		return w.Header().Get("Access-Control-Allow-Credentials") == "true"
	}
	u, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, r.AskedHost())
}
