// Package config reads pushd.toml and the PUSHD_* environment into plain
// values. It knows nothing of processes: package cmd makes the plan of them.
//
// A value comes from the environment, else from the file, else it is the
// default that docs/reference.md lists. Everything that can be judged without
// running anything is judged here, and every error names the file and line (or
// the variable) that has to change.
package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/channel"
)

// Config is a complete, valid configuration.
type Config struct {
	File     string   // absolute path of the file it came from, "" = none
	Searched []string // where a file was looked for

	RuntimeDir     string // absolute
	DataDir        string // absolute
	DataTemporary  bool   // DataDir is the one of the last resort
	LogFile        string // absolute, "" = stderr
	LogLevel       slog.Level
	LogFormat      string // "text" or "json"
	Drain          time.Duration
	Watchdog       time.Duration // 0 = off
	TrustedProxies []netip.Prefix
	TLSLook        time.Duration // how often certificate files are looked at

	API      API
	Metrics  Metrics
	Broker   Broker
	Cluster  Cluster
	Ingest   []Ingest
	Apps     []App
	Channels []Channel
	History  History
	Workers  []Worker // never empty, unless Source.Program

	// places are where values stand that only the machine can judge, by address
	// or key.
	places map[string]string

	unread     []string // see Unread
	overridden []string // see Overridden

	// read has the names of the variables of the environment that were asked for,
	// without "PUSHD_".
	read map[string]bool

	// Override is PUSHD_LISTEN and PUSHD_COUNT, already applied to Workers; a
	// program applies it to its own.
	Override Override
}

// API is the HTTP API's table.
type API struct {
	Listen   string          // "host:port" or "unix:///path", "" = off
	Key      string          // "" = generated at first start, kept in KeyFile
	Insecure bool            // allows a public address without TLS
	TLS      *certs.Settings // nil = none
	Socket   Socket
}

// Socket says who may connect to a unix socket.
type Socket struct {
	Mode  uint32 // 0 = the default, 0660
	Group string // name or number; "" = that of pushd
}

// Metrics is the table of the metrics listener.
type Metrics struct {
	Listen   string // as API.Listen
	Insecure bool   // as API.Insecure
	TLS      *certs.Settings
}

// Broker is the broker's table.
type Broker struct {
	URL         string        // "" = embedded, else "nats://…"
	Prefix      string        // first token of all subjects; default "pushd"
	Access      broker.Access // to the servers of URL
	User, Group string        // of the broker process; "" = the master's
}

// Cluster is the table of what several machines have in common.
type Cluster struct {
	Node   string        // name of this machine's pushd; default: the host's name
	Lost   time.Duration // silence after which nobody waits for a node; default 5s
	Forget time.Duration // silence after which a node was never there; default 10m
}

// Ingest is a port that takes pushes from a back end.
type Ingest struct {
	At       string // place in the config, for messages
	Listen   string // "udp://…", "tcp://…" or "unix:///path"
	Key      string
	Insecure bool
	Socket   Socket
	Handler  *Route // nil = JSON pushes
}

// App is an application of the Pusher protocol.
type App struct {
	At string
	pusher.App
}

// Channel is a rule for channels.
type Channel struct {
	At string
	channel.Rule
}

// History is the table of what is kept of channels.
type History struct {
	Memory int    `json:"memory"` // bytes, of all channels together
	Store  string `json:"store"`  // "memory", "disk" or "jetstream"

	Replicas int `json:"replicas"` // servers that keep each message, with "jetstream"
}

// Worker is a group of equal worker processes.
type Worker struct {
	At          string
	Name        string
	Listen      []string
	Count       int // 0 = CPUs()
	User, Group string
	Socket      Socket // of all its unix sockets
	Handler     *Route // for what no route takes; nil = none
	Routes      []Route
	Settings    worker.Settings

	listenAt, countAt string // where the file has them; "" = it does not

	page     bool // Routes are the built-in ones
	declared bool // by its program, see PHP: Name, Listen and Count mean nothing
}

// Route names a handler and its options.
type Route struct {
	At        string
	Pattern   string // "" for a group's own handler
	Handler   string
	Origins   []string
	Protocols []string
	Options   json.RawMessage // nil = none
}

// All returns the routes of the group, its own handler behind them.
func (w *Worker) All() []Route {
	if w.Handler == nil {
		return w.Routes
	}
	return append(slices.Clone(w.Routes), *w.Handler)
}

// Uses reports whether the group has a handler of that name.
func (w *Worker) Uses(handler string) bool {
	return slices.ContainsFunc(w.All(), func(r Route) bool { return r.Handler == handler })
}

// KeyFile is where the generated API key is kept.
func (c *Config) KeyFile() string { return filepath.Join(c.DataDir, "api.key") }

// Place returns where a listen address, the name of a worker group, or one of
// runtime_dir, data_dir and log_file comes from: "pushd.toml:12: worker[0].listen".
func (c *Config) Place(of string) string {
	if at := c.places[of]; at != "" {
		return at
	}
	return of
}

// placeService notes where the address of an HTTP service comes from, by all forms
// that it has in a plan.
func (c *Config) placeService(listen, at string) {
	c.places[listen], c.places["http://"+listen], c.places["https://"+listen] = at, at, at
}

// appService is whose options the apps are, historyService whose those of the
// table [history].
const (
	appService     = "pusher"
	historyService = "history"
)

// Services returns the options of services that the config has.
func (c *Config) Services() worker.ServiceOptions {
	all := worker.ServiceOptions{historyService: {option(c.History)}}
	for i := range c.Apps {
		all[appService] = append(all[appService], option(&c.Apps[i].App))
	}
	return all
}

func option(v any) worker.Options {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // plain values only
	}
	return raw
}

// Rules returns what is said of channels.
func (c *Config) Rules() channel.Rules {
	rules := make(channel.Rules, len(c.Channels))
	for i := range c.Channels {
		rules[i] = c.Channels[i].Rule
	}
	return rules
}

// AppIDs returns the ids of the apps among the options of services.
func AppIDs(services worker.ServiceOptions) ([]string, error) {
	list := services[appService]
	ids := make([]string, len(list))
	for i, o := range list {
		var a pusher.App
		if err := o.Decode(&a); err != nil {
			return nil, fmt.Errorf("app: %w", err)
		}
		ids[i] = a.ID
	}
	return ids, nil
}

// MaxEvents returns the max_event of the apps among the options of services, by
// their ids.
func MaxEvents(services worker.ServiceOptions) (map[string]int, error) {
	most := map[string]int{}
	for _, o := range services[appService] {
		var a pusher.App
		if err := o.Decode(&a); err != nil {
			return nil, fmt.Errorf("app: %w", err)
		}
		most[a.ID] = a.MaxEvent
	}
	return most, nil
}

// Errors are all the mistakes that were found, each with its place.
type Errors []error

// Error lists the mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.Is look at each.
func (e Errors) Unwrap() []error { return e }

// DefaultListen is the address of the built-in worker group.
const DefaultListen = "websocket://127.0.0.1:2346"

// builtIn is where what nobody wrote is from.
const builtIn = "built-in default"

// defaultRoutes are those of a group that names neither routes nor a handler:
// the page and the handlers that it shows.
func (c *Config) defaultRoutes() []Route {
	const at = builtIn
	return []Route{
		{At: at, Pattern: "/", Handler: "demo", Options: c.demoOptions()},
		{At: at, Pattern: "/echo", Handler: "echo"},
		{At: at, Pattern: "/chat", Handler: "chat", Options: json.RawMessage(`{"last":20,"public_history":true}`)},
		{At: at, Pattern: "/notify", Handler: "notify", Options: json.RawMessage(`{"anonymous":true,"channels":["news"]}`)},
		{At: at, Pattern: "/app/{key}", Handler: "pusher", Origins: []string{"*"}}, // signatures say who may what
		{At: at, Pattern: "/pusher/*", Handler: "pusher", Origins: []string{"*"}},  // without WebSocket
		{At: at, Pattern: "/apps/*", Handler: "pusher"},
		{At: at, Pattern: "/up", Handler: "pusher"}, // the health check of Reverb's users
	}
}

// pusherPatterns are the paths at which the handler pusher has something to say.
var pusherPatterns = []string{"/app/{key}", "/pusher/*", "/apps/*", "/up"}

// spread gives a group whose own handler is pusher the routes by which that finds
// the key of an app, but for those that lead elsewhere.
func (w *Worker) spread() {
	if w.Handler == nil || w.Handler.Handler != "pusher" || !takesRoutes(w.Listen) {
		return
	}
	for _, p := range pusherPatterns {
		if !slices.ContainsFunc(w.Routes, func(r Route) bool { return r.Pattern == p }) {
			r := *w.Handler
			r.Pattern = p
			w.Routes = append(w.Routes, r)
		}
	}
}

// demoOptions tell the page where the API is and where its key is found.
func (c *Config) demoOptions() json.RawMessage {
	o := map[string]string{}
	if c.API.Listen != "" {
		o["api"] = "http://" + c.API.Listen
		if c.API.TLS != nil {
			o["api"] = "https://" + c.API.Listen
		}
		if strings.HasPrefix(c.API.Listen, "unix://") {
			o["api"] = c.API.Listen
		}
	}
	if c.API.Key == "" {
		o["key_file"] = c.KeyFile()
	}
	raw, _ := json.Marshal(o) // strings only
	return raw
}
