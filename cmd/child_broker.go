package cmd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/brokerd"
	"github.com/pushd/pushd/worker/order"
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
	apps, err := config.MaxEvents(services)
	if err != nil {
		return control.AtStep("read plan", err)
	}
	rules, err := c.program.allChannels(spec.processSpec)
	if err != nil {
		return control.AtStep("read plan", err)
	}
	return brokerd.Serve(brokerd.Process{ // which reports its own failures to the master
		Control: c.control, Init: c.init, Settings: spec.Settings, URL: spec.BrokerURL, Prefix: spec.Prefix, Access: spec.Access, Node: spec.Node, Version: Version, Times: spec.Times,
		AppsHash: appsHash(services, ofAll(apps, rules.Historical)), RulesHash: hash(ofAll(apps, rules.Text)),
		Key: key, Apps: apps, Services: services, ChannelRules: rules, Certs: c.certs, Reopen: redirect, Log: c.log,
	})
}

// appsHash is by what nodes see that they have not the same apps, or other channels with
// history. The order of apps does not count, and of the table [history] nothing. What
// else rules of channels say has a hash of its own, which nodes of a version before lack.
func appsHash(all worker.ServiceOptions, historical string) string {
	var sum strings.Builder
	if historical != "" {
		fmt.Fprintf(&sum, "%q", historical)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var list []string
		for _, o := range all[name] {
			list = append(list, string(mustJSON(o)))
		}
		slices.Sort(list)
		if name != worker.HistoryService && len(list) > 0 {
			fmt.Fprintf(&sum, "%q %q", name, list)
		}
	}
	return hash(sum.String())
}

// hash has 32 bits: enough to notice, and too few to find a secret by.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// ofAll is what is said of the channels of each app, and of those of none.
func ofAll(apps order.Apps, said func(app string) string) (text string) {
	for _, app := range slices.Sorted(maps.Keys(apps)) {
		text += said(app)
	}
	return text + said("")
}
