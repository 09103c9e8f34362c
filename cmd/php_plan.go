package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/script/php"
)

func noContext() context.Context { return context.Background() }

// phpGroups plans the groups that a PHP file declares. What the file prints
// meanwhile goes to stderr.
func (b *planner) phpGroups() {
	c, err := b.program.phpCommand(b.config.RuntimeDir)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	found, err := c.Plan(noContext(), os.Stderr)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	groups := make([]config.Worker, len(found.Groups))
	targets := make([]config.Target, len(found.Groups))
	for i, g := range found.Groups {
		groups[i] = b.phpGroup(c, g)
		targets[i] = config.Target{Listen: &groups[i].Listen, Count: &groups[i].Count}
	}
	if err := b.config.Override.Apply(targets); err != nil {
		b.errs = append(b.errs, err)
	}
	for _, g := range groups {
		b.configGroup(g)
	}
}

var errPHPRoot = errors.New("a PHP program is not run as root: set $worker->user (user of www-data or one of its own), start it as that user, or say --allow-root")

// phpGroup is one group, in the words of a config.
func (b *planner) phpGroup(c *php.Command, g php.Group) config.Worker {
	at := fmt.Sprintf("%s: worker %q", c.File, g.Name)
	root := os.Getenv(phpRootEnv) != ""
	if os.Geteuid() == 0 && !root && (g.User == "" || g.User == "root") {
		b.fail(at, errPHPRoot)
	}
	args, env := c.Handler()
	options := mustJSON(map[string]any{
		"script": args, "dir": c.Dir, "env": env, "allow_root": root, "watch": os.Getenv(phpWatchEnv) != "",
		"title": filepath.Base(c.File), "output": "raw",
	})
	s := worker.DefaultSettings()
	s.Limits.MaxMessage = phpMaxMessage
	return config.Worker{
		At: at, Name: g.Name, Listen: g.Listen, Count: g.Count, User: g.User, Group: g.Group, Settings: s,
		Handler: &config.Route{At: at, Handler: "script", Origins: []string{"*"}, Options: options},
	}
}

// phpMaxMessage is what Workerman takes by default rather than what we do, in
// bytes: its programs are not written for less.
const phpMaxMessage = 1 << 20

// phpTitle names the program where a command is hinted at.
func (f *phpFile) title() string { return "php " + shellWord(strings.TrimSpace(f.typed)) }
