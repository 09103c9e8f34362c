package cmd

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/worker/broker"
)

// reachPatience is how long a NATS of one's own may take to let a check in.
const reachPatience = 2 * time.Second

// reachBus says why the NATS of [broker] url would not do for a start. The name of this
// node is taken where its pushd runs: by that.
func (p *Program) reachBus(cfg *config.Config, runs bool) error {
	b := cfg.Broker
	if b.URL == "" {
		return nil
	}
	var also []func(*broker.Client) error
	if cfg.History.Store == "jetstream" && p.ordered(cfg) {
		also = append(also, broker.HasLog)
	}
	if !runs {
		also = append(also, broker.NameIsFree)
	}
	return broker.Reach(broker.Options{
		ID: "check", Node: cfg.Cluster.Node, URL: b.URL, Prefix: b.Prefix, Access: b.Access, StartTimeout: reachPatience, Logger: slog.New(slog.DiscardHandler),
	}, also...)
}

// gettingIn is what mends an error of reachBus.
func gettingIn(err error) string {
	switch {
	case errors.Is(err, broker.ErrCA), errors.As(err, new(x509.UnknownAuthorityError)):
		return `[broker] tls = { ca = "ca.pem" }, a file in PEM with the authority that has signed the servers' certificates`
	case errors.As(err, new(x509.HostnameError)):
		return "[broker] url: the name of each server as its certificate has it"
	case errors.Is(err, broker.ErrNameTaken):
		return "[cluster] node: a name that no other has"
	case errors.Is(err, broker.ErrRights):
		return "grant them to that user in the config of NATS, see docs/cluster.md"
	case errors.Is(err, broker.ErrNoJetStream):
		return "jetstream { store_dir: … } in the config of the NATS servers"
	}
	return "start that server, or let this machine in"
}
