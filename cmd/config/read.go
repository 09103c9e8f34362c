package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// parse reads all tables and checks them; what is wrong ends up in r.errs.
func parse(s Source, file string, values map[string]any, r *reader) *Config {
	r.file = file
	if r.env == nil {
		r.env = s.env
	}
	data, temporary := s.dataDir()
	c := &Config{
		File: file, RuntimeDir: s.RuntimeDirs()[0], DataDir: data,
		Broker:    Broker{Prefix: "pushd"},
		Cluster:   Cluster{Lost: 5 * time.Second, Forget: 10 * time.Minute},
		LogFormat: "text", Drain: 5 * time.Second, Watchdog: 5 * time.Second,
		API: API{Listen: "127.0.0.1:2347"}, places: map[string]string{},
	}
	r.env = c.reading(r.env)
	if s.LogFile != "" {
		c.LogFile, _ = filepath.Abs(s.LogFile)
	}
	t := r.table("", values, "PUSHD_")
	t.process(c)
	c.DataTemporary = temporary && c.DataDir == data
	if s.RuntimeDir != "" {
		c.RuntimeDir, _ = filepath.Abs(s.RuntimeDir)
		c.places["runtime_dir"] = "--runtime-dir"
	}
	r.checkRuntimeDir(c)
	r.dataDir = c.DataDir
	if v, ok := t.sub("broker", "PUSHD_BROKER_").get("url"); ok || r.env("PUSHD_BROKER_URL_FILE") != "" {
		r.cluster = v.any != ""
	}
	t.services(c)
	c.Apps = t.apps()
	t.channels(c)
	for i, in := range t.subs("ingest") {
		c.Ingest = append(c.Ingest, in.ingest(i))
		c.places[c.Ingest[i].Listen] = in.where("listen")
	}
	groups := t.subs("worker")
	if s.Program && len(groups) > 0 {
		r.fail(groups[0].at("worker[0]"), "this program declares its workers in its code: remove [[worker]]")
		groups = nil
	}
	for i, g := range groups {
		c.Workers = append(c.Workers, g.worker(c, i))
	}
	if !s.Program && len(c.Workers) == 0 {
		c.Workers = []Worker{r.table("worker[0]", nil, "").worker(c, 0)}
	}
	c.Override = t.override()
	if !s.Program && len(c.Workers) > 0 {
		t.apply(c)
	}
	t.done()
	c.defaultChannels()
	check(c, r)
	c.overridden = r.notes
	maps.Copy(c.places, r.files)
	return c
}

// process reads the keys that stand above all tables.
func (t *table) process(c *Config) {
	t.abs("runtime_dir", &c.RuntimeDir)
	t.abs("data_dir", &c.DataDir)
	t.abs("log_file", &c.LogFile)
	for _, key := range []string{"runtime_dir", "data_dir", "log_file"} {
		if v, ok := t.get(key); ok {
			c.places[key] = v.at
			if v.any == "" && key != "log_file" {
				t.fail(v.at, "is empty: leave the line out for the default")
			}
		}
	}
	level := ""
	t.str("log_level", &level)
	if level != "" {
		if err := c.LogLevel.UnmarshalText([]byte(level)); err != nil {
			t.fail(t.where("log_level"), `%q: use "debug", "info", "warn" or "error"`, level)
			c.LogLevel = slog.LevelInfo
		}
	}
	t.str("log_format", &c.LogFormat)
	if c.LogFormat != "text" && c.LogFormat != "json" {
		t.fail(t.where("log_format"), `%q: use "text" or "json"`, c.LogFormat)
	}
	t.duration("drain", &c.Drain)
	t.duration("watchdog", &c.Watchdog)
	t.look(c)
	if c.Watchdog > 0 && c.Watchdog < 500*time.Millisecond {
		t.fail(t.where("watchdog"), "shorter than 500ms it would kill healthy workers (0 = off)")
	}
	var proxies []string
	t.list("trusted_proxies", &proxies)
	for _, p := range proxies {
		prefix, err := parsePrefix(p)
		if err != nil {
			t.fail(t.where("trusted_proxies"), "%q is no network: write 10.0.0.0/8, ::1/128 or a single address", p)
			continue
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

func (t *table) services(c *Config) {
	api := t.sub("api", "PUSHD_API_")
	api.str("listen", &c.API.Listen)
	c.API.Listen = t.absListen(c.API.Listen)
	api.secret("key", &c.API.Key)
	api.boolean("insecure", &c.API.Insecure)
	c.API.TLS = api.tls()
	api.socket(&c.API.Socket, isUnix(c.API.Listen))
	api.checkAPI(c.API)
	c.placeService(c.API.Listen, api.where("listen"))
	api.done()

	metrics := t.sub("metrics", "PUSHD_METRICS_")
	metrics.str("listen", &c.Metrics.Listen)
	c.Metrics.Listen = t.absListen(c.Metrics.Listen)
	metrics.boolean("insecure", &c.Metrics.Insecure)
	c.Metrics.TLS = metrics.tls()
	metrics.checkMetrics(c.Metrics)
	c.placeService(c.Metrics.Listen, metrics.where("listen"))
	metrics.done()

	broker := t.sub("broker", "PUSHD_BROKER_")
	broker.secret("url", &c.Broker.URL)
	broker.str("prefix", &c.Broker.Prefix)
	broker.access(&c.Broker.Access)
	broker.str("user", &c.Broker.User)
	broker.str("group", &c.Broker.Group)
	c.places["broker"], c.places["broker.url"] = broker.where("user"), broker.where("url")
	broker.checkBroker(c.Broker)
	broker.done()

	cluster := t.sub("cluster", "PUSHD_CLUSTER_")
	cluster.str("node", &c.Cluster.Node)
	cluster.duration("lost", &c.Cluster.Lost)
	cluster.duration("forget", &c.Cluster.Forget)
	cluster.checkCluster(c)
	cluster.done()
}

// ingest reads the i-th [[ingest]].
func (t *table) ingest(i int) Ingest {
	in := Ingest{At: t.at(t.path)}
	t.str("listen", &in.Listen)
	in.Listen = t.absListen(in.Listen)
	t.secret("key", &in.Key)
	t.boolean("insecure", &in.Insecure)
	t.socket(&in.Socket, isUnix(in.Listen))
	in.Handler = t.handler()
	t.checkIngest(in)
	t.done()
	return in
}

// worker reads the i-th [[worker]].
func (t *table) worker(c *Config, i int) Worker {
	w := Worker{At: t.at(t.path), Name: "push", Listen: []string{DefaultListen}, Settings: worker.DefaultSettings()}
	if i > 0 {
		w.Name, w.Listen = fmt.Sprintf("push-%d", i+1), nil
	}
	t.str("name", &w.Name)
	t.list("listen", &w.Listen)
	for i, addr := range w.Listen {
		w.Listen[i] = t.absListen(addr)
	}
	t.integer("count", &w.Count)
	w.listenAt, w.countAt = t.written("listen"), t.written("count")
	t.str("user", &w.User)
	t.str("group", &w.Group)
	w.Handler = t.script(t.handler())
	if command, _ := w.PHP(); command != nil {
		w.declared, w.Listen = true, nil
		c.unread = append(c.unread, t.unread("name", "listen", "count", "routes")...)
	}
	t.socket(&w.Socket, w.declared || slices.ContainsFunc(w.Listen, isUnix))
	w.Routes = t.routes()
	w.spread()
	t.settings(&w.Settings)
	if w.Routes == nil && w.Handler == nil && takesRoutes(w.Listen) {
		w.Routes, w.page = c.defaultRoutes(), true
	}
	if w.Settings.ProxyProtocol && len(c.TrustedProxies) == 0 {
		t.fail(t.where("proxy_protocol"), "needs trusted_proxies: a header of the PROXY protocol is believed of nobody else")
	}
	t.checkWorker(w)
	t.done()
	c.places[w.Name] = t.where("user")
	for _, addr := range w.Listen {
		c.places[addr] = t.where("listen")
	}
	return w
}

func (t *table) settings(s *worker.Settings) {
	slow := string(s.Slow)
	t.str("slow", &slow)
	s.Slow = worker.Slow(slow)
	for _, c := range t.subs("channels") {
		policy := ""
		rule := worker.ChannelSlow{}
		c.str("match", &rule.Match)
		c.str("slow", &policy)
		rule.Slow = worker.Slow(policy)
		s.SlowChannels = append(s.SlowChannels, rule)
		c.done()
	}
	t.duration("ping_interval", &s.PingInterval)
	t.duration("ping_timeout", &s.PingTimeout)
	t.boolean("compression", &s.Compression)
	t.boolean("proxy_protocol", &s.ProxyProtocol)
	s.TLS = t.tls()
	t.str("redirect", &s.Redirect)
	l, limits := &s.Limits, t.sub("limits", "")
	limits.size("max_message", &l.MaxMessage)
	limits.size("max_body", &l.MaxBody)
	limits.integer("max_fragments", &l.MaxFragments)
	limits.integer("max_rate", &l.MaxRate)
	limits.integer("max_control_rate", &l.MaxControlRate)
	limits.size("max_header", &l.MaxHeader)
	limits.integer("max_headers", &l.MaxHeaders)
	limits.duration("handshake_timeout", &l.HandshakeTimeout)
	limits.size("max_queue", &l.MaxQueue)
	limits.integer("max_connections", &l.MaxConnections)
	limits.duration("full_wait", &l.FullWait)
	limits.integer("tls_handshakes", &l.TLSHandshakes)
	limits.integer("per_ip", &l.PerIP)
	limits.integer("per_ip_rate", &l.PerIPRate)
	limits.done()
}

// routes reads the table of routes in the order of their patterns.
func (t *table) routes() []Route {
	sub := t.sub("routes", "")
	if sub.values == nil {
		return nil
	}
	patterns := make([]string, 0, len(sub.values))
	for p := range sub.values {
		patterns = append(patterns, p)
	}
	sort.Strings(patterns)
	out := make([]Route, 0, len(patterns))
	for _, p := range patterns {
		if r, ok := sub.route(p); ok {
			r.Pattern = p
			sub.checkPattern(r)
			out = append(out, r)
		}
	}
	return out
}

// handler reads the key "handler" of a group or ingest port.
func (t *table) handler() *Route {
	if v, ok := t.filed("handler"); !ok || v.any == "" {
		return nil
	}
	r, ok := t.route("handler")
	if !ok {
		return nil
	}
	return &r
}

// route reads "name" or { handler = "name", origins = […], options = {…} }.
func (t *table) route(key string) (Route, bool) {
	v, _ := t.filed(key)
	r := Route{At: v.at}
	switch raw := v.any.(type) {
	case string:
		r.Handler = raw
	case map[string]any:
		sub := t.table(join(t.path, key), raw, "")
		sub.str("handler", &r.Handler)
		sub.list("origins", &r.Origins)
		sub.list("protocols", &r.Protocols)
		sub.options(&r.Options)
		sub.done()
	default:
		t.fail(v.at, `needs a handler's name or { handler = "…" }, not %s`, kind(v.any))
		return r, false
	}
	if r.Handler == "" {
		t.fail(v.at, "names no handler")
		return r, false
	}
	return r, true
}

// options turns the table of options into JSON; only the handler knows them.
func (t *table) options(dst *json.RawMessage) {
	sub := t.sub("options", "")
	if sub.values == nil {
		return
	}
	raw, err := json.Marshal(sub.values)
	if err != nil {
		t.fail(t.at(sub.path), "%v", err)
		return
	}
	*dst = raw
}

// apps reads [[app]], and the one app that the environment may define.
func (t *table) apps() (out []App) {
	for _, a := range t.subs("app") {
		out = append(out, a.app(a.at(a.path)))
		a.done()
	}
	env := t.table("", nil, "PUSHD_APP_")
	if app := env.app("PUSHD_APP_ID"); app.ID != "" || app.Key != "" || app.Secret != "" {
		out = append(out, app)
	}
	return out
}

// app reads one app.
func (t *table) app(at string) App {
	app := App{At: at, App: pusher.DefaultApp()}
	t.str("id", &app.ID)
	t.secret("key", &app.Key)
	t.secret("secret", &app.Secret)
	t.boolean("disabled", &app.Disabled)
	t.integer("max_connections", &app.MaxConnections)
	t.integer("max_channels", &app.MaxChannels)
	t.integer("max_presence_members", &app.MaxPresenceMembers)
	t.size("max_event", &app.MaxEvent)
	t.size("max_member_size", &app.MaxMember)
	t.boolean("client_events", &app.ClientEvents)
	t.integer("client_event_rate", &app.ClientEventRate)
	t.integer("subscription_rate", &app.SubscriptionRate)
	t.boolean("subscription_count", &app.SubscriptionCount)
	t.boolean("mercure", &app.Mercure)
	t.duration("activity_timeout", &app.ActivityTimeout)
	t.duration("anonymous_timeout", &app.AnonymousTimeout)
	for _, h := range t.subs("webhooks") {
		var hook pusher.Webhook
		h.str("url", &hook.URL)
		h.list("events", &hook.Events)
		h.list("channel_name_starts_with", &hook.StartsWith)
		h.list("channel_name_ends_with", &hook.EndsWith)
		h.headers(&hook)
		h.checkWebhook(hook)
		h.done()
		app.Webhooks = append(app.Webhooks, hook)
	}
	return app
}

// headers reads what is sent along with a webhook.
func (t *table) headers(h *pusher.Webhook) {
	sub := t.sub("headers", "")
	for _, name := range slices.Sorted(maps.Keys(sub.values)) {
		var v string
		sub.str(name, &v)
		if h.Headers == nil {
			h.Headers = map[string]string{}
		}
		h.Headers[name] = v
	}
}
