package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// restart stops what runs, if anything does, and starts anew. What cannot start
// again is not stopped: the config is judged, and every address that is new is
// bound, while the old master still serves. Its listening sockets stay open in
// between, so that clients who come too early wait instead of being refused.
func restart(c *call) error {
	cfg, p, err := c.judge()
	if err != nil {
		return err
	}
	if err := master.CheckFolder(cfg.RuntimeDir); err != nil {
		return err
	}
	if _, err := programPath(); err != nil {
		return err
	}
	client, err := c.dial()
	if errors.Is(err, master.ErrNotRunning) {
		if err := c.stopOrphans(err); err != nil && !errors.Is(err, master.ErrNotRunning) {
			return err
		}
		return c.start(cfg)
	}
	if err != nil {
		return err
	}
	defer client.Close()
	sockets, surplus, err := c.takeSockets(client, cfg, p)
	if err != nil {
		return fmt.Errorf("nothing has been stopped: %w", err)
	}
	if err := c.stopMaster(sockets != nil); err != nil {
		return err
	}
	master.DropSockets(surplus)
	return c.startWith(cfg, sockets)
}

// takeSockets gets the sockets of the running master and binds those of the
// plan that it does not have. sockets is nil when it gives none: then the new
// master binds anew what the old one has freed.
func (c *call) takeSockets(client *master.Client, cfg *config.Config, p *master.Plan) (sockets, surplus []master.Socket, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	old, refused := client.Sockets(ctx)
	if refused != nil {
		c.say("new clients are refused meanwhile: %v", refused)
	}
	if _, err = c.rehearse(cfg, p, old); err != nil {
		return nil, nil, err
	}
	if err = c.program.reachBus(cfg, true); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", cfg.Place("broker.url"), err)
	}
	if refused != nil {
		return nil, nil, nil
	}
	return master.Reserve(ctx, p, old)
}
