// Package login lets clients in by a token: a signed JWT that says who they are
// and what they may listen to, and when that ends. Handlers whose clients log in
// share it; Keys is for those whose tokens have other claims.
package login

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker"
)

// Options of a route whose clients log in; part of the handler's own.
type Options struct {
	KeyOptions
	Anonymous bool     `json:"anonymous"` // let clients without a token in; default no
	Cookie    string   `json:"cookie"`    // name of a cookie that may carry the token; "" = none
	Channels  []string `json:"channels"`  // what every client joins
	Leeway    string   `json:"leeway"`    // by how much a token's nbf may be ahead of this clock; default "30s", at most "5m"
}

// Door is one route's.
type Door struct {
	o        Options
	leeway   time.Duration
	keys     *Keys
	refused  Log
	expiries expiries
}

// New makes a door of its options. Without keys there are no tokens.
func New(o Options) (*Door, error) {
	d := &Door{o: o}
	var err error
	if d.keys, err = NewKeys(o.KeyOptions); err != nil {
		return nil, err
	}
	if d.leeway, err = time.ParseDuration(cmp.Or(o.Leeway, "30s")); err != nil || d.leeway < 0 || d.leeway > maxLeeway {
		return nil, fmt.Errorf("options: leeway: %q is no duration from \"0s\" to \"5m\"", o.Leeway)
	}
	if o.Cookie != "" && !websocket.IsToken(o.Cookie) {
		return nil, fmt.Errorf("options: cookie: %q is no name of a cookie", o.Cookie)
	}
	if err := checkNames(o.Channels); err != nil {
		return nil, fmt.Errorf("options: channels: %w", err)
	}
	return d, nil
}

// maxLeeway is more than two clocks that are looked after differ.
const maxLeeway = 5 * time.Minute

// bearer is the scheme of the Authorization header, and the subprotocol that
// stands before a token: browsers can send no header, but subprotocols.
const bearer = "bearer"

// Visitor is who stands at the door: a handshake, or a Request.
type Visitor interface {
	Header(name string) string
	Cookie(name string) string
	Subprotocols() []string
	Refuse(status int, text string)
}

// tokenOf returns the token of a visitor, "" for none.
func (d *Door) tokenOf(v Visitor, query url.Values) string {
	if raw := query.Get("token"); raw != "" {
		return raw
	}
	if d.o.Cookie != "" {
		if raw := v.Cookie(d.o.Cookie); raw != "" {
			return raw
		}
	}
	if scheme, raw, ok := strings.Cut(v.Header("Authorization"), " "); ok && strings.EqualFold(scheme, bearer) {
		return strings.TrimSpace(raw)
	}
	list := v.Subprotocols()
	if i := slices.Index(list, bearer); i >= 0 && i+1 < len(list) {
		return list[i+1]
	}
	return ""
}

// Admit reads the token of a visitor; the zero Claims are those of a client
// without one. With ok false it has refused him. The token is not kept and never
// logged; its end is a session value, which Watch looks at.
func (d *Door) Admit(c *worker.Conn, v Visitor, query url.Values) (claims Claims, ok bool) {
	if hs, is := v.(*worker.Handshake); is && hs.Chosen() == "" && slices.Contains(hs.Subprotocols(), bearer) {
		hs.Choose(bearer)
	}
	raw := d.tokenOf(v, query)
	switch {
	case raw != "":
		if err := d.verify(raw, &claims, c.Worker().Now()); err != nil {
			d.refused.Note(c.Worker().Now(), refusalOf(err), "path", c.Path(), "client", c.RemoteIP())
			if r, is := v.(Request); is && errors.Is(err, RefusedExpired) && r.turnAway() {
				return claims, false
			}
			v.Refuse(http.StatusUnauthorized, "token refused: "+reason(err))
			return claims, false
		}
	case !d.o.Anonymous:
		v.Refuse(http.StatusUnauthorized, "a token is needed: ?token=, the cookie, Authorization: Bearer, or the subprotocols bearer and the token")
		return claims, false
	}
	until := "" // nothing is left of one who was refused before, on a connection that goes on
	if claims.Expires != 0 {
		until = strconv.FormatInt(claims.Expires, 10)
	}
	if c.Set(expiryKey, until) != nil {
		TooLarge(v)
		return claims, false
	}
	return claims, true
}

// TooLarge refuses a visitor whose login the session values have no room for.
func TooLarge(v Visitor) {
	v.Refuse(http.StatusRequestEntityTooLarge, "token is too large")
}

// Watch closes c with 4001 when its token expires, if it has one. For OnConnect
// and OnResume.
func (d *Door) Watch(c *worker.Conn) { d.expiries.watch(c) }

// Start fetches keys that come from a URL. For OnWorkerStart.
func (d *Door) Start() { d.keys.Start() }

// Forget ends that. For OnClose.
func (d *Door) Forget(c *worker.Conn) { d.expiries.forget(c) }
