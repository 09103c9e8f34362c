// Package notify is the handler "notify": a client logs in with a token and
// listens; a back end pushes to its user id, its channels or its connection.
package notify

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/worker"
)

func init() { worker.RegisterHandler("notify", New) }

// Options of the route.
type Options struct {
	Secret    string   `json:"secret"`    // of the tokens (HS256)
	Anonymous bool     `json:"anonymous"` // let clients without a token in; default no
	Cookie    string   `json:"cookie"`    // name of a cookie that may carry the token; "" = none
	Channels  []string `json:"channels"`  // what every client joins
	Leeway    string   `json:"leeway"`    // by how much a token's nbf may be ahead of this clock; default "30s", at most "5m"
}

// Handler is one notify route.
type Handler struct {
	opt      Options
	leeway   time.Duration
	parser   *jwt.Parser
	expiries expiries
}

// New makes a handler of its options.
func New(o worker.Options) (worker.Handler, error) {
	h := &Handler{parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation())}
	if err := o.Decode(&h.opt); err != nil {
		return nil, err
	}
	if h.opt.Secret == "" && !h.opt.Anonymous {
		return nil, errors.New(`needs options = { secret = "…" }, or anonymous = true to let everyone in`)
	}
	if h.opt.Secret != "" {
		if err := worker.CheckSecret(h.opt.Secret, worker.MinSecret); err != nil {
			return nil, fmt.Errorf("options: secret: %w", err)
		}
	}
	var err error
	if h.leeway, err = time.ParseDuration(cmp.Or(h.opt.Leeway, "30s")); err != nil || h.leeway < 0 || h.leeway > maxLeeway {
		return nil, fmt.Errorf("options: leeway: %q is no duration from \"0s\" to \"5m\"", h.opt.Leeway)
	}
	if err := checkNames(h.opt.Channels); err != nil {
		return nil, fmt.Errorf("options: channels: %w", err)
	}
	return h, nil
}

// maxLeeway is more than two clocks that are looked after differ.
const maxLeeway = 5 * time.Minute

// bearer is the scheme of the Authorization header, and the subprotocol that
// stands before a token: browsers can send no header, but subprotocols.
const bearer = "bearer"

// tokenOf returns the token of a handshake, "" for none.
func (h *Handler) tokenOf(hs *worker.Handshake, query url.Values) string {
	if raw := query.Get("token"); raw != "" {
		return raw
	}
	if h.opt.Cookie != "" {
		if raw := hs.Cookie(h.opt.Cookie); raw != "" {
			return raw
		}
	}
	if scheme, raw, ok := strings.Cut(hs.Header("Authorization"), " "); ok && strings.EqualFold(scheme, bearer) {
		return strings.TrimSpace(raw)
	}
	list := hs.Subprotocols()
	if i := slices.Index(list, bearer); i >= 0 && i+1 < len(list) {
		return list[i+1]
	}
	return ""
}

// OnHandshake lets in whoever has a good token. The token is not kept and never
// logged.
func (h *Handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	query := hs.Query()
	hs.ForgetQuery()
	if hs.Chosen() == "" && slices.Contains(hs.Subprotocols(), bearer) {
		hs.Choose(bearer)
	}
	raw := h.tokenOf(hs, query)
	var claims Claims
	switch {
	case raw != "":
		if err := h.verify(raw, &claims); err != nil {
			hs.Refuse(http.StatusUnauthorized, "token refused: "+reason(err))
			return
		}
	case !h.opt.Anonymous:
		hs.Refuse(http.StatusUnauthorized, "a token is needed: ?token=, the cookie, Authorization: Bearer, or the subprotocols bearer and the token")
		return
	}
	login, err := json.Marshal(session{UID: string(claims.Subject), Channels: claims.Channels, Hello: query.Get("hello") == "1"})
	if err == nil && string(login) != "{}" {
		err = c.Set(sessionKey, string(login))
	}
	if err == nil && claims.Expires != 0 {
		err = c.Set(expiryKey, strconv.FormatInt(claims.Expires, 10))
	}
	if err != nil {
		hs.Refuse(http.StatusRequestEntityTooLarge, "token is too large")
	}
}

// session carries the login from the handshake to OnConnect, which may run
// later and elsewhere.
type session struct {
	UID      string   `json:"u,omitempty"`
	Channels []string `json:"c,omitempty"`
	Hello    bool     `json:"h,omitempty"`
}

const sessionKey = "notify"

// OnConnect binds the user and joins the channels.
func (h *Handler) OnConnect(c *worker.Conn) {
	var s session
	if raw := c.Get(sessionKey); raw != "" {
		_ = json.Unmarshal([]byte(raw), &s)
		_ = c.Set(sessionKey, "")
	}
	if s.UID != "" {
		c.Bind(s.UID)
	}
	for _, name := range h.opt.Channels {
		c.Join(name)
	}
	for _, name := range s.Channels {
		c.Join(name)
	}
	h.expiries.watch(c)
	if s.Hello {
		_ = c.SendText(fmt.Sprintf(`{"id":%q}`, c.ID()))
	}
}

// OnResume goes on watching a connection that came from another process.
func (h *Handler) OnResume(c *worker.Conn) { h.expiries.watch(c) }

// OnClose ends the watch.
func (h *Handler) OnClose(c *worker.Conn, _ error) { h.expiries.forget(c) }
