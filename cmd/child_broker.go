package cmd

import (
	"encoding/json"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/brokerd"
)

// runBroker is the broker process from its first message to its end.
func (c *child) runBroker() error {
	var spec brokerSpec
	if err := json.Unmarshal(c.init.Spec, &spec); err != nil {
		return control.AtStep("read plan", err)
	}
	c.setLog(spec.processSpec)
	if spec.DataTemporary {
		c.log.Warn("data_dir lies in the temporary folder: the API key and webhooks that wait do not outlive it; set data_dir", "data_dir", spec.DataDir)
	}
	key, err := spec.apiKey(c.init.FormerUID)
	if err != nil {
		return control.AtStep("load API key", err)
	}
	services := c.program.services(spec.processSpec)
	apps, err := config.AppIDs(services)
	if err != nil {
		return control.AtStep("read plan", err)
	}
	return brokerd.Serve(brokerd.Process{ // which reports its own failures to the master
		Control: c.control, Init: c.init, Settings: spec.Settings, URL: spec.BrokerURL, Node: spec.Node,
		Key: key, Apps: apps, Services: services, ChannelRules: c.program.channels(spec.processSpec), Certs: c.certs, Reopen: redirect, Log: c.log,
	})
}
