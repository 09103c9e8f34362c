// Package mercure is the handler "mercure": a hub of the Mercure protocol, 1.0 and
// by option 0.x. Subscribers are streams of server-sent events, publishers send
// forms, and both show tokens.
//
// All updates of a hub go by one channel, "mercure:HUB", which has a history: so
// there is one order of events, Last-Event-ID is a position in it, and an update
// that several matchers select comes once. Every subscriber is a member of that
// channel; who of them gets an update is looked up by its topics (Audience), and
// checked for each (OnFilter), also for what was missed. What a connection is
// subscribed to and may read is a session value, so it moves with it.
package mercure

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/handler/login"
	"github.com/pushd/pushd/worker/handler/mercure/census"
)

func init() {
	worker.RegisterHandler("mercure", New)
	worker.OwnChannels(prefix, "the hubs of the handler mercure")
	kept := keep
	worker.HandlerChannels("mercure", channel.Rule{Match: prefix + ":*", History: &kept, Age: keepFor})
}

const (
	prefix  = "mercure"        // of the names of channels on the bus
	keep    = 10_000           // events of a hub that are kept, unless [[channel]] says otherwise
	keepFor = 15 * time.Minute // and how long
)

// Options of the route.
type Options struct {
	login.KeyOptions
	Hub           string `json:"hub"`           // the hub's URL, as clients know it; required
	Issuer        string `json:"issuer"`        // iss of tokens; required, but with compat
	Audience      string `json:"audience"`      // aud of tokens; default: hub
	Cookie        string `json:"cookie"`        // that may carry the token; default __Secure-mercure_access_token
	Anonymous     bool   `json:"anonymous"`     // let subscribers without a token have what is not private
	Subscriptions bool   `json:"subscriptions"` // events and API of active subscriptions
	Compat        bool   `json:"compat"`        // take what clients of 0.x send
	Insecure      bool   `json:"insecure"`      // take tokens that come without encryption
	App           string `json:"app"`           // id of a Pusher app whose channels are topics of the hub
	Leeway        string `json:"leeway"`        // by how much nbf may be ahead; default "30s"
}

// Handler is the route of a hub. Several routes of it, as /.well-known/mercure and
// /.well-known/mercure/*, are one hub when their options have the same hub.
type Handler struct {
	opt    Options
	hub    *wire.Hub
	keys   *login.Keys
	leeway time.Duration
	*process
	maxEvent int // bytes of a payload that clients of the app get; 0 = no limit
}

// DefaultCookie is the cookie that the specification recommends. Browsers take it
// over https only.
const DefaultCookie = "__Secure-mercure_access_token"

// legacyCookie is that of 0.x.
const legacyCookie = "mercureAuthorization"

// New makes a handler of its options.
func New(o worker.Options) (worker.Handler, error) {
	h := &Handler{}
	if err := o.Decode(&h.opt); err != nil {
		return nil, err
	}
	opt := &h.opt
	opt.Audience, opt.Cookie = cmp.Or(opt.Audience, opt.Hub), cmp.Or(opt.Cookie, DefaultCookie)
	opt.Leeway = cmp.Or(opt.Leeway, "30s")
	var err error
	if h.hub, err = wire.NewHub(opt.Hub, opt.Compat); err != nil {
		return nil, fmt.Errorf("options: hub: %w", err)
	}
	if h.keys, err = login.NewKeys(opt.KeyOptions); err != nil {
		return nil, err
	}
	if h.leeway, err = time.ParseDuration(opt.Leeway); err != nil || h.leeway < 0 || h.leeway > 5*time.Minute {
		return nil, fmt.Errorf(`options: leeway: %q is no duration from "0s" to "5m"`, opt.Leeway)
	}
	switch {
	case !opt.Any():
		err = errors.New(`options: needs secret, public_key or jwks: who publishes shows a token`)
	case opt.Issuer == "" && !opt.Compat:
		err = errors.New(`options: issuer: needs the iss of the tokens, as Laravel's MERCURE_JWT_ISSUER (or compat = true)`)
	case !websocket.IsToken(opt.Cookie):
		err = fmt.Errorf("options: cookie: %q is no name of a cookie", opt.Cookie)
	case strings.ContainsAny(opt.App, ": *"):
		err = fmt.Errorf("options: app: %q is no id of an app", opt.App)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// channel returns the hub's channel on the bus.
func (h *Handler) channel() string { return wire.HubChannel(cmp.Or(h.opt.App, h.hub.Path())) }

// process is what the routes of a hub share in a worker process. It belongs to
// the loop.
type process struct {
	w       *worker.Worker
	log     *slog.Logger
	refused login.Log
	moving  bool // connections are going to another process
	subs    subscribers
	ends    ends
	pending map[string]*worker.Response // publishes whose event is on its way, by its id
	last    last
	census  string // instance of the census that was told all
}

// OnWorkerStart finds what the other routes of the hub use too.
func (h *Handler) OnWorkerStart(w *worker.Worker) error {
	app, err := h.app(w.Services)
	if err != nil {
		return err
	}
	h.maxEvent = app.MaxEvent
	h.process = processOf(w, h.channel())
	if h.w == nil {
		h.w, h.log = w, slog.Default().With("worker", w.Name, "slot", w.Slot())
		h.pending = map[string]*worker.Response{}
		w.SetAudience(h.channel(), h.audience)
		if h.opt.Subscriptions {
			h.tell(&census.Word{Process: own})
			w.Every(visitEach, h.visit)
		}
	}
	h.keys.Start()
	return nil
}

// OnWorkerReload begins a time in which connections leave without a callback.
func (h *Handler) OnWorkerReload(*worker.Worker) { h.moving = true }

// OnWorkerResume counts anew who is left.
func (h *Handler) OnWorkerResume(w *worker.Worker) {
	h.moving = false
	h.subs.keep(func(c *worker.Conn) bool { return w.Has(c.ID()) })
}

// OnWorkerStop forgets it.
func (h *Handler) OnWorkerStop(w *worker.Worker) { forget(w) }
