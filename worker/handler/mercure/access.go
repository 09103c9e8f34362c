package mercure

import (
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/login"
)

// access is what a token grants. The zero value is that of who has none.
type access struct {
	token   bool
	cookie  bool // it came as a cookie, which pages send without knowing it
	expires int64
	grants  wire.Grants
	details json.RawMessage // the claim that grants were read from
	legacy  bool            // which is that of 0.x
}

// admit reads the token of a request; with ok false it has answered.
func (h *Handler) admit(w *worker.Response, r *worker.Request) (a access, ok bool) {
	raw, cookie, given, err := h.token(r)
	switch {
	case err != nil:
		h.challenge(w, r, http.StatusBadRequest, "invalid_request", "the token is presented in a way that is not known here")
		return a, false
	case !given:
		return a, true
	case !h.opt.Insecure && !r.Secure() && !loopback(r.AskedHost()):
		h.note(r, login.RefusedScheme)
		h.challenge(w, r, http.StatusUnauthorized, "invalid_token", "tokens need https here: TLS of the listener, or of a proxy in trusted_proxies that sends X-Forwarded-Proto")
		return a, false
	}
	a, refusal := h.read(raw)
	if refusal != "" {
		h.note(r, refusal)
		h.challenge(w, r, http.StatusUnauthorized, "invalid_token", "the token is not valid")
		return a, false
	}
	a.cookie = cookie
	return a, true
}

func (h *Handler) note(r *worker.Request, why login.Refusal) {
	h.refused.Note(h.w.Now(), why, "path", r.Conn().Path(), "client", r.Conn().RemoteIP())
}

// loopback reports whether a host is this machine, where browsers take http for
// secure, too.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// token finds the token of a request: the header goes before the cookie.
func (h *Handler) token(r *worker.Request) (raw string, cookie, given bool, err error) {
	if list := r.Header.Values("Authorization"); len(list) > 0 {
		scheme, raw, ok := strings.Cut(list[0], " ")
		if len(list) > 1 || !ok || !strings.EqualFold(scheme, "bearer") || strings.TrimSpace(raw) == "" {
			return "", false, false, errors.New("no bearer token")
		}
		return strings.TrimSpace(raw), false, true, nil
	}
	if h.opt.Compat {
		if raw := r.Query().Get("authorization"); raw != "" {
			return raw, false, true, nil
		}
	}
	names := []string{h.opt.Cookie}
	if h.opt.Cookie == DefaultCookie && loopback(r.AskedHost()) {
		names = append(names, strings.TrimPrefix(DefaultCookie, "__Secure-")) // which http can set
	}
	if h.opt.Compat {
		names = append(names, legacyCookie)
	}
	for _, name := range names {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return c.Value, true, true, nil
		}
	}
	return "", false, false, nil
}

// read verifies a token.
func (h *Handler) read(raw string) (a access, why login.Refusal) {
	h.keys.Tend()
	typ, signed, err := h.keys.Verify(raw)
	if err != nil {
		errors.As(err, &why)
		return a, why
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(signed, &claims) != nil || claims == nil {
		return a, login.RefusedClaims
	}
	a.legacy = h.opt.Compat && claims["authorization_details"] == nil
	if !a.legacy {
		if typ != "at+jwt" {
			return a, login.RefusedType
		}
		if why := h.whoseFor(claims); why != "" {
			return a, why
		}
	}
	if why := h.times(claims, &a); why != "" {
		return a, why
	}
	if a.legacy {
		a.details = cmpRaw(claims["mercure"], claims["https://mercure.rocks/"])
		a.grants, err = h.hub.ParseLegacy(a.details)
	} else {
		a.details = claims["authorization_details"]
		a.grants, err = h.hub.ParseGrants(a.details)
	}
	if err != nil {
		h.log.Debug("a token is refused for what it grants", "error", err)
		return a, login.RefusedClaims
	}
	a.token = true
	return a, ""
}

func cmpRaw(a, b json.RawMessage) json.RawMessage {
	if a != nil {
		return a
	}
	return b
}

// whoseFor judges iss and aud.
func (h *Handler) whoseFor(claims map[string]json.RawMessage) login.Refusal {
	var iss *string
	if json.Unmarshal(claims["iss"], &iss) != nil || iss == nil || *iss != h.opt.Issuer && (h.opt.Issuer != "" || !h.opt.Compat) {
		return login.RefusedIssuer
	}
	var one *string
	var several []string
	switch aud := claims["aud"]; {
	case json.Unmarshal(aud, &one) == nil && one != nil && *one == h.opt.Audience:
	case json.Unmarshal(aud, &several) == nil && slices.Contains(several, h.opt.Audience):
	default:
		return login.RefusedAudience
	}
	return ""
}

// maxDate is in the year 11000 or so.
const maxDate = 1 << 38

// times judges exp and nbf.
func (h *Handler) times(claims map[string]json.RawMessage, a *access) login.Refusal {
	now := h.w.Now()
	date := func(raw json.RawMessage) (t float64, ok bool) {
		var n *float64
		if json.Unmarshal(raw, &n) != nil || n == nil || *n < 0 || *n > maxDate {
			return 0, false
		}
		return *n, true
	}
	switch exp, ok := date(claims["exp"]); {
	case claims["exp"] == nil && a.legacy:
	case !ok:
		return login.RefusedExpired
	default:
		if a.expires = int64(math.Floor(exp)); a.expires <= now.Unix() {
			return login.RefusedExpired
		}
	}
	if raw := claims["nbf"]; raw != nil {
		if nbf, ok := date(raw); !ok || nbf > float64(now.Add(h.leeway).UnixMilli())/1000 {
			return login.RefusedEarly
		}
	}
	return ""
}

// challenge refuses a request for its token, or for having none: with error "".
func (h *Handler) challenge(w *worker.Response, r *worker.Request, status int, code, text string) {
	value := "Bearer"
	if u, err := url.Parse(h.opt.Hub); err == nil {
		value += ` resource_metadata="` + u.Scheme + "://" + u.Host + metadataPath + h.hub.Path() + `"`
	}
	if code != "" {
		value += `, error="` + code + `"`
	}
	w.Header().Set("WWW-Authenticate", value)
	fail(w, status, text)
}

func fail(w *worker.Response, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.WriteString(text + "\n")
}

// lifetime is when a stream with a token ends: up to a tenth of its time before
// the token, drawn for each, so that those who got theirs together do not come
// back together; and never after it, as the clock that ends them ticks in seconds.
func lifetime(now time.Time, expires int64, draw func(int64) int64) int64 {
	left := expires - now.Unix()
	return expires - 1 - draw(max(left/10, 1))
}
