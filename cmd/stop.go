package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/master"
)

const (
	orphanGrace = 10 * time.Second // how long the children of a killed master may take to leave
	deathWait   = 10 * time.Second // how long a master that has hung up may take to be gone
)

// stop returns when everything is gone.
func stop(c *call) error {
	err := c.stop()
	if err == nil && c.json() {
		return writeJSON(c.out, map[string]any{"ok": true})
	}
	return err
}

func (c *call) stop() error {
	err := c.stopMaster(false)
	var mute *unanswered
	if errors.As(err, &mute) && !c.flags.Bool("graceful") && !c.flags.Bool("to-others") {
		return c.terminate(mute)
	}
	if errors.Is(err, master.ErrNotRunning) || errors.Is(err, master.ErrHungUp) {
		return c.stopOrphans(err)
	}
	return err
}

// stopMaster returns when the master and all its processes are gone; keep says
// that its listening sockets have another owner now.
func (c *call) stopMaster(keep bool) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	c.say("stopping …")
	o := master.StopOptions{Graceful: c.flags.Bool("graceful"), Timeout: c.flags.Duration("timeout"), ToOthers: c.flags.Bool("to-others"), Keep: keep}
	if err := client.Stop(context.Background(), o); err != nil {
		if errors.Is(err, master.ErrHungUp) { // it was killed, just now
			client.WaitGone(deathWait)
		}
		return fmt.Errorf("stop: %w", err)
	}
	c.say("stopped")
	return nil
}

// terminate stops a master that takes no commands.
func (c *call) terminate(mute *unanswered) error {
	c.say("pid %d takes no commands; stopping it by a signal …", mute.pid)
	if err := master.Terminate(context.Background(), mute.dir); err != nil {
		return err
	}
	c.say("stopped")
	return nil
}

// stopOrphans clears what a killed master has left; without any, there was
// nothing to stop.
func (c *call) stopOrphans(notRunning error) error {
	dirs, _ := c.dirs()
	found := false
	for _, dir := range dirs {
		orphans, err := master.FindOrphans(dir)
		if err != nil || len(orphans) == 0 {
			continue
		}
		c.say("the master of %s was killed; stopping the %d processes that it left …", dir, len(orphans))
		if _, err := master.ClearOrphans(context.Background(), dir, orphanGrace); err != nil {
			return fmt.Errorf("stop the processes of a killed master: %w", err)
		}
		found = true // though they may have left by themselves meanwhile
	}
	if !found {
		return notRunning
	}
	c.say("stopped")
	return nil
}

// say tells a person what goes on.
func (c *call) say(format string, args ...any) {
	if !c.json() {
		fmt.Fprintf(c.out, format+"\n", args...)
	}
}
