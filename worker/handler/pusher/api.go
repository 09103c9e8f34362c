package pusher

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	prothttp "github.com/pushd/pushd/protocol/http"
	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// call is one request of the HTTP API.
type call struct {
	h    *Handler
	a    *app
	w    *worker.Response
	r    *worker.Request
	q    wire.Query
	body []byte
}

// fault is a request that is refused: the status, and the body's "error".
type fault struct {
	status int
	text   string
}

func (f *fault) Error() string { return f.text }

func bad(text string) *fault { return &fault{http.StatusBadRequest, text} }

// endpoint is what a path below /apps/{id}/ leads to.
type endpoint struct {
	method string
	serve  func(k *call, arg string) error
}

// endpoints by their path, the variable part of which is "*".
var endpoints = map[string]endpoint{
	"events":                        {http.MethodPost, (*call).trigger},
	"batch_events":                  {http.MethodPost, (*call).triggerBatch},
	"connections":                   {http.MethodGet, (*call).connections},
	"channels":                      {http.MethodGet, (*call).channels},
	"channels/*":                    {http.MethodGet, (*call).channel},
	"channels/*/users":              {http.MethodGet, (*call).users},
	"channels/*/stats":              {http.MethodGet, (*call).stats},
	"channels/*/events":             {http.MethodPost, (*call).triggerOne},
	"users/*/terminate_connections": {http.MethodPost, (*call).terminate},
}

// target is the path of a request, taken apart.
type target struct {
	prefix string // before "/apps/"; not part of what is signed
	app    string
	path   string // in endpoints
	arg    string // what stands for "*"
}

// Parts of a path behind "/apps/": the app's id and what is in endpoints.
const minParts, maxParts = 2, 4

// locate finds the endpoint of a path. The prefix may be anything, "/apps/" in it
// too: it is looked for only where an endpoint would have it.
func locate(path string) (t target, e endpoint, ok bool) {
	for n := maxParts; n >= minParts; n-- {
		at := lastSlash(path, n+1)
		if at < 0 || !strings.HasPrefix(path[at:], "/apps/") {
			continue
		}
		parts := strings.Split(path[at+len("/apps/"):], "/")
		t = target{prefix: path[:at], app: parts[0]}
		if len(parts) > 2 {
			t.arg, parts[2] = parts[2], "*"
		}
		t.path = strings.Join(parts[1:], "/")
		if e, ok = endpoints[t.path]; ok && t.app != "" && (len(parts) < 3 || t.arg != "") {
			return t, e, true
		}
	}
	return locateSlashed(path)
}

// locateSlashed finds the endpoint of a user or channel whose name has slashes:
// SDKs put it into the path as it is. The last "/apps/" counts that can be one.
func locateSlashed(path string) (t target, e endpoint, ok bool) {
	const apps = "/apps/"
	end := max(strings.LastIndexByte(path, '/'), 0)
	for _, kind := range []string{"users/", "channels/"} {
		pattern := kind + "*" + path[end:]
		if e, ok = endpoints[pattern]; !ok {
			continue
		}
		for at := strings.LastIndex(path[:end], apps); at >= 0; at = strings.LastIndex(path[:at+len(apps)-1], apps) {
			app, rest, _ := strings.Cut(path[at+len(apps):end], "/")
			if arg, found := strings.CutPrefix(rest, kind); found && app != "" && arg != "" {
				return target{path[:at], app, pattern, arg}, e, true
			}
		}
	}
	return target{}, endpoint{}, false
}

// lastSlash returns where the nth slash from the end is, -1 when there are fewer.
func lastSlash(path string, n int) int {
	at := len(path)
	for ; n > 0 && at >= 0; n-- {
		at = strings.LastIndexByte(path[:at], '/')
	}
	return at
}

// OnRequest answers a request of a back end.
func (h *Handler) OnRequest(w *worker.Response, r *worker.Request) {
	if f, ok := findFallback(r.URL.Path); ok {
		h.serveFallback(w, r, f)
		return
	}
	k := &call{h: h, w: w, r: r}
	t, e, ok := locate(r.URL.Path)
	switch {
	case !ok && r.Param("key") == scriptName:
		k.recoverScript()
	case !ok && r.Param("key") != "":
		w.Header().Set("Upgrade", "websocket")
		k.fail(&fault{http.StatusUpgradeRequired, "this path speaks WebSocket"})
	case !ok && isHealth(r.URL.Path):
		k.health()
	case !ok:
		k.fail(&fault{http.StatusNotFound, "there is nothing at this path"})
	case r.Method != e.method:
		w.Header().Set("Allow", e.method)
		k.fail(&fault{http.StatusMethodNotAllowed, "this path takes " + e.method})
	case prothttp.Encoded(r.Header):
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		k.fail(&fault{http.StatusUnsupportedMediaType, "Content-Encoding: the body must not be compressed"})
	default:
		if err := k.authorize(t); err != nil {
			k.fail(err)
			return
		}
		if err := e.serve(k, t.arg); err != nil {
			k.fail(err)
		}
	}
}

// isHealth reports whether a path, none of an app's, is for whoever wants to know
// if the process serves: "/up", as Reverb has it.
func isHealth(path string) bool {
	return strings.HasSuffix(path, "/up") && !strings.Contains(path, "/apps/")
}

// health says that this process takes requests; it knows nothing of the others.
func (k *call) health() {
	if k.r.Method != http.MethodGet && k.r.Method != http.MethodHead {
		k.w.Header().Set("Allow", "GET, HEAD")
		k.fail(&fault{http.StatusMethodNotAllowed, "this path takes GET"})
		return
	}
	_ = k.ok(map[string]string{"health": "OK"})
}

// maxSkew is how far auth_timestamp may be from our clock.
const maxSkew = 600 * time.Second

// authorize fills in the call, if the request is signed by its app.
func (k *call) authorize(t target) (err error) {
	if k.body, err = io.ReadAll(k.r.Body); err != nil {
		return bad("the body cannot be read")
	}
	if k.q, err = wire.ParseQuery(k.r.URL.RawQuery); err != nil {
		return bad("the query cannot be read: " + err.Error())
	}
	if k.a = k.h.byID[t.app]; k.a == nil || k.q["auth_key"] != k.a.Key {
		return k.forged(t, "there is no app of this id and auth_key")
	}
	if !k.signed(t) {
		return k.forged(t, "auth_signature is not that of this request")
	}
	sum := md5.Sum(k.body)
	seconds, err := strconv.ParseInt(k.q["auth_timestamp"], 10, 64)
	switch skew := time.Since(time.Unix(seconds, 0)); {
	case err != nil || skew.Abs() > maxSkew:
		return k.forged(t, "auth_timestamp is not within 600 seconds of the server's clock")
	case len(k.body) > 0 && !strings.EqualFold(k.q["body_md5"], hex.EncodeToString(sum[:])):
		return k.forged(t, "body_md5 is not that of the body")
	case k.q["auth_version"] != "1.0":
		return k.forged(t, "auth_version must be 1.0")
	case k.a.Disabled:
		return &fault{http.StatusForbidden, "the app is disabled"}
	}
	return nil
}

// signed checks the signature. Some SDKs sign the path as it is sent, others
// before it is escaped.
func (k *call) signed(t target) bool {
	plain, sent := k.r.URL.Path[len(t.prefix):], k.r.URL.EscapedPath()
	if wire.Verify(k.a.Secret, wire.RequestText(k.r.Method, plain, k.q), k.q["auth_signature"]) {
		return true
	}
	i := strings.LastIndex(sent, "/apps/"+t.app+"/")
	return i >= 0 && sent[i:] != plain &&
		wire.Verify(k.a.Secret, wire.RequestText(k.r.Method, sent[i:], k.q), k.q["auth_signature"])
}

// forged refuses a request and logs it.
func (k *call) forged(t target, reason string) *fault {
	k.h.refuse(k.r.Conn(), reason, "app", clip(t.app), "path", clip(t.path))
	return &fault{http.StatusUnauthorized, reason}
}

// fail answers with an error.
func (k *call) fail(err error) {
	f := &fault{http.StatusInternalServerError, "internal error"}
	switch {
	case errors.As(err, &f):
	case errors.Is(err, worker.ErrTooLarge):
		f = &fault{http.StatusRequestEntityTooLarge, err.Error()}
	case errors.Is(err, worker.ErrBrokerBusy), errors.Is(err, worker.ErrBrokerAway), errors.Is(err, worker.ErrUnavailable):
		f = &fault{http.StatusServiceUnavailable, err.Error()}
	default:
		k.h.log.Error("pusher: API", "path", clip(k.r.URL.Path), "error", err)
	}
	if f.status == http.StatusServiceUnavailable {
		k.w.Header().Set("Retry-After", "1")
	}
	k.answer(f.status, map[string]string{"error": f.text})
}

// unknown handles that something could not be found out in time. What was
// triggered is not to be sent again for that: its answer does without.
func (k *call) unknown(why error, rest func()) {
	if k.r.Method != http.MethodGet {
		rest()
		return
	}
	k.fail(&fault{http.StatusServiceUnavailable, why.Error()})
}

// ok answers 200 with v.
func (k *call) ok(v any) error {
	k.answer(http.StatusOK, v)
	return nil
}

func (k *call) answer(status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		k.h.log.Error("pusher: encode answer", "error", err)
		status, raw = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	if status >= http.StatusBadRequest {
		raw = append(raw, '\n') // for people who read it with curl
	}
	k.w.Header().Set("Content-Type", "application/json")
	k.w.WriteHeader(status)
	_, _ = k.w.Write(raw) // the client may be gone
	k.w.End()
}
