package mercure

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// metadataPath stands before the hub's own path (RFC 9728).
const metadataPath = "/.well-known/oauth-protected-resource"

// OnRequest answers what comes to the hub's URL and below.
func (h *Handler) OnRequest(w *worker.Response, r *worker.Request) {
	path := r.URL.EscapedPath()
	allowed := r.Allowed(w)
	w.Header().Set("Access-Control-Expose-Headers", "Link, Mercure-Last-Event-ID")
	which, api := h.hub.ParseResource(path)
	switch {
	case path == metadataPath+h.hub.Path():
		h.only(w, r, h.metadata, http.MethodGet, http.MethodHead)
	case path == h.hub.Path() && r.Method == http.MethodPost:
		h.publish(w, r, allowed)
	case path == h.hub.Path():
		h.only(w, r, h.subscribe, http.MethodGet, http.MethodHead, http.MethodPost)
	case api && h.opt.Subscriptions:
		h.only(w, r, func(w *worker.Response, r *worker.Request) { h.list(w, r, path, which) }, http.MethodGet, http.MethodHead)
	default:
		fail(w, http.StatusNotFound, "there is nothing of the hub at this path")
	}
}

// only answers other methods, OPTIONS among them.
func (h *Handler) only(w *worker.Response, r *worker.Request, fn func(*worker.Response, *worker.Request), methods ...string) {
	for _, m := range methods {
		if r.Method == m {
			fn(w, r)
			return
		}
	}
	list := strings.Join(append(methods, http.MethodOptions), ", ")
	w.Header().Set("Allow", list)
	if r.Method != http.MethodOptions {
		fail(w, http.StatusMethodNotAllowed, "this takes "+list)
		return
	}
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		w.Header().Set("Access-Control-Allow-Methods", list)
	}
	w.WriteHeader(http.StatusNoContent)
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
// that it comes from must be of the route's origins. Which page that is Origin
// says, or Referer; without either nobody knows.
func sameSite(r *worker.Request, allowed bool) bool {
	if r.Header.Get("Origin") != "" {
		return allowed
	}
	u, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, r.AskedHost())
}
