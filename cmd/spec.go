package cmd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/brokerd"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/nodes"
)

// The specs travel in the plan, from the program that read the config to the
// child processes of the same program. The master passes them on unread.

// processSpec is what every child process needs.
type processSpec struct {
	LogLevel  slog.Level    `json:"log_level"`
	LogFormat string        `json:"log_format"`
	BrokerURL string        `json:"broker_url,omitempty"` // "" = embedded
	Prefix    string        `json:"prefix,omitempty"`     // of subjects there
	Access    broker.Access `json:"access"`
	Node      string        `json:"node,omitempty"` // of the cluster; "" = there is no other
	// Services are the options of services in the config.
	Services worker.ServiceOptions `json:"services,omitempty"`
	Channels channel.Rules         `json:"channels,omitempty"` // of the config
}

// services returns the options of services: those of the config, and behind them
// those that the program's workers declare.
func (p *Program) services(spec processSpec) worker.ServiceOptions {
	all := worker.ServiceOptions{}
	add := func(more worker.ServiceOptions) {
		for name, list := range more {
			all[name] = append(all[name], list...)
		}
	}
	add(spec.Services)
	for _, w := range p.Workers {
		add(w.Services)
	}
	return all
}

// channels returns the rules for channels: those of the config, and behind them
// those that the program's workers declare.
func (p *Program) channels(spec processSpec) channel.Rules {
	all := slices.Clone(spec.Channels)
	for _, w := range p.Workers {
		all = append(all, w.ChannelRules...)
	}
	return all
}

// allChannels are the rules that all processes go by: behind those that somebody
// wrote, that cache channels of the apps keep their last event.
func (p *Program) allChannels(spec processSpec) (channel.Rules, error) {
	apps, err := config.AppIDs(p.services(spec))
	return append(p.channels(spec), channel.CacheRules(apps)...), err
}

// workerSpec tells a worker process what it runs.
type workerSpec struct {
	processSpec
	TrustedProxies []netip.Prefix `json:"trusted_proxies,omitempty"`
	Group          *groupSpec     `json:"group,omitempty"` // nil: the program's own worker of that name
}

// groupSpec is a worker group that the config describes.
type groupSpec struct {
	Settings worker.Settings `json:"settings"`
	Handler  *routeSpec      `json:"handler,omitempty"`
	Routes   []routeSpec     `json:"routes,omitempty"`
}

type routeSpec struct {
	Pattern   string         `json:"pattern,omitempty"`
	Handler   string         `json:"handler"`
	Origins   []string       `json:"origins,omitempty"`
	Protocols []string       `json:"protocols,omitempty"`
	Options   worker.Options `json:"options,omitempty"`
}

// brokerSpec tells the broker process what it runs.
type brokerSpec struct {
	processSpec
	brokerd.Settings
	APIKey string      `json:"api_key,omitempty"` // "" = from the key file in DataDir, generated when missing
	Times  nodes.Times `json:"times"`             // of [cluster]
	// DataTemporary: DataDir does not outlive a container.
	DataTemporary bool `json:"data_temporary,omitempty"`
}

func groupOf(w config.Worker) *groupSpec {
	g := &groupSpec{Settings: w.Settings}
	if w.Handler != nil {
		r := routeOf(*w.Handler)
		g.Handler = &r
	}
	for _, r := range w.Routes {
		g.Routes = append(g.Routes, routeOf(r))
	}
	return g
}

// scripts reports whether a handler of the group is a program beside its
// processes.
func (g *groupSpec) scripts() bool {
	if g == nil {
		return false
	}
	is := func(r routeSpec) bool { return r.Handler == scriptHandler }
	return g.Handler != nil && is(*g.Handler) || slices.ContainsFunc(g.Routes, is)
}

// scriptHandler is the name of the handler that runs programs.
const scriptHandler = "script"

func routeOf(r config.Route) routeSpec {
	return routeSpec{Pattern: r.Pattern, Handler: r.Handler, Origins: r.Origins, Protocols: r.Protocols, Options: worker.Options(r.Options)}
}

// newWorker makes the worker that the spec describes.
func (g *groupSpec) newWorker(name string, listen []string) (*worker.Worker, error) {
	w := worker.New(listen...)
	w.Name, w.Settings = name, g.Settings
	if g.Handler != nil {
		h, err := g.Handler.newHandler()
		if err != nil {
			return nil, err
		}
		w.Handler, w.Origins, w.Protocols = h, g.Handler.Origins, g.Handler.Protocols
	}
	for _, r := range g.Routes {
		h, err := r.newHandler()
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Pattern, err)
		}
		w.Routes = append(w.Routes, worker.Route{Pattern: r.Pattern, Handler: h, Origins: r.Origins, Protocols: r.Protocols})
	}
	return w, nil
}

// newHandler runs the handler's constructor. A panic in it is an error of the
// config like any other.
func (r *routeSpec) newHandler() (h worker.Handler, err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Debug("handler constructor panicked", "handler", r.Handler, "stack", string(debug.Stack()))
			err = fmt.Errorf("handler %q: panic in its constructor: %v", r.Handler, p)
		}
	}()
	return worker.NewHandler(r.Handler, r.Options)
}

func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // plain values only
	}
	return raw
}
