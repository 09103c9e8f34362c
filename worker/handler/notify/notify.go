// Package notify is the handler "notify": a client logs in with a token and
// listens; a back end pushes to its user id, its channels or its connection.
package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/worker"
)

func init() { worker.RegisterHandler("notify", New) }

// Options of the route.
type Options struct {
	Secret    string   `json:"secret"`    // of the tokens (HS256)
	Anonymous bool     `json:"anonymous"` // let clients without a token in; default no
	Cookie    string   `json:"cookie"`    // name of a cookie that may carry the token
	Channels  []string `json:"channels"`  // what every client joins
}

// Claims is the content of a token.
type Claims struct {
	Channels             []string `json:"channels,omitempty"` // to join
	jwt.RegisteredClaims          // sub = user id; exp is required
}

// maxChannels bounds the channels of a token.
const maxChannels = 100

// Handler is one notify route.
type Handler struct {
	opt    Options
	parser *jwt.Parser
}

// New makes a handler of its options.
func New(o worker.Options) (worker.Handler, error) {
	h := &Handler{parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())}
	if err := o.Decode(&h.opt); err != nil {
		return nil, err
	}
	if h.opt.Secret == "" && !h.opt.Anonymous {
		return nil, errors.New("needs options = { secret = \"…\" }, or anonymous = true to let everyone in")
	}
	return h, nil
}

// OnHandshake lets in whoever has a good token. The token is not kept and never
// logged.
func (h *Handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	query := hs.Query()
	hs.ForgetQuery()
	raw := query.Get("token")
	if raw == "" && h.opt.Cookie != "" {
		raw = hs.Cookie(h.opt.Cookie)
	}
	var claims Claims
	switch {
	case raw != "":
		if err := h.verify(raw, &claims); err != nil {
			hs.Refuse(http.StatusUnauthorized, "token refused: "+reason(err))
			return
		}
	case !h.opt.Anonymous:
		hs.Refuse(http.StatusUnauthorized, "a token is needed: ?token= or the cookie")
		return
	}
	login, err := json.Marshal(session{UID: claims.Subject, Channels: claims.Channels, Hello: query.Get("hello") == "1"})
	if err == nil && string(login) != "{}" {
		err = c.Set(sessionKey, string(login))
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
	if s.Hello {
		_ = c.SendText(fmt.Sprintf(`{"id":%q}`, c.ID()))
	}
}

func (h *Handler) verify(raw string, claims *Claims) error {
	if h.opt.Secret == "" {
		return errors.New("this route takes no tokens")
	}
	_, err := h.parser.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return []byte(h.opt.Secret), nil })
	if err == nil && len(claims.Channels) > maxChannels {
		err = fmt.Errorf("more than %d channels", maxChannels)
	}
	return err
}

// reason tells a client no more than it can know.
func reason(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "not valid yet"
	}
	return "invalid"
}

// Sign makes a token for uid that is good for ttl.
func Sign(secret, uid string, channels []string, ttl time.Duration) (string, error) {
	now := time.Now()
	claims := Claims{Channels: channels, RegisteredClaims: jwt.RegisteredClaims{
		Subject: uid, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
}
