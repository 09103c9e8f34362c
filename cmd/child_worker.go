package cmd

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/channel"
)

// runWorker is a worker process from its first message to its end.
func (c *child) runWorker() error {
	var spec workerSpec
	if err := json.Unmarshal(c.init.Spec, &spec); err != nil {
		return control.AtStep("read plan", err)
	}
	c.setLog(spec.processSpec)
	w, err := c.worker(&spec)
	if err != nil {
		return control.AtStep("load handlers", err)
	}
	w.Services = c.program.services(spec.processSpec)
	apps, err := config.AppIDs(w.Services)
	if err == nil {
		w.ChannelRules, err = c.program.allChannels(spec.processSpec)
	}
	if err != nil {
		return control.AtStep("load handlers", err)
	}
	bus, err := c.bus(&spec, w)
	if err != nil {
		return control.AtStep("connect to broker", err)
	}
	return w.Serve(worker.Process{ // which reports its own failures to the master
		Control: c.control, Init: c.init, Node: spec.Node, Broker: bus, TrustedProxies: spec.TrustedProxies, Certs: c.certs, Apps: channel.NewApps(apps),
		Reopen: redirect, Log: c.log,
	})
}

// worker makes the worker that the config or the program describes.
func (c *child) worker(spec *workerSpec) (*worker.Worker, error) {
	listen := make([]string, len(c.init.Listeners))
	for i, l := range c.init.Listeners {
		listen[i] = l.Address
	}
	if spec.Group != nil {
		return spec.Group.newWorker(c.init.Name, listen)
	}
	w := c.program.find(c.init.Name)
	if w == nil {
		return nil, fmt.Errorf("this program has no worker %q", c.init.Name)
	}
	w.SetListen(listen...)
	return w, nil
}

// bus makes the client; Serve starts it.
func (c *child) bus(spec *workerSpec, w *worker.Worker) (worker.Broker, error) {
	o := broker.Options{
		ID: c.init.Identity().On(spec.Node).String(), Node: spec.Node, URL: spec.BrokerURL, Prefix: spec.Prefix, Access: spec.Access,
		Ordered: w.ChannelRules.Ordered(), SharedHistory: w.Services.SharedHistory(), Logger: c.log,
	}
	if o.URL == "" {
		if c.init.BusFD <= 0 {
			return nil, errors.New("the master gave no descriptor of its socket")
		}
		o.Path = broker.FDPath(c.init.BusFD)
	}
	return broker.NewClient(o)
}
