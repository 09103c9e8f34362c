package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// forKey is said of the key that the first start makes.
const forKey = "the key of the HTTP API, which the first start writes there unless [api] has a key"

// dataFor says what cannot do without a data_dir that can be written; "" = nothing.
func (p *Program) dataFor(cfg *config.Config) string {
	_, err := os.Stat(cfg.KeyFile())
	switch {
	case cfg.API.Key == "" && errors.Is(err, fs.ErrNotExist):
		return forKey
	case hooked(cfg):
		return forHooks
	case cfg.History.Store == "disk" && p.ordered(cfg):
		return `[history] store = "disk"`
	case cfg.Broker.User != "" && os.Geteuid() == 0:
		return "[broker] user, to whom it is given"
	}
	return ""
}

// forHooks is said of the events that wait there, in a folder of their own.
const forHooks = "webhooks"

func hooked(cfg *config.Config) bool {
	return slices.ContainsFunc(cfg.Apps, func(a config.App) bool { return len(a.Webhooks) > 0 })
}

// ordered reports whether a channel may have a history.
func (p *Program) ordered(cfg *config.Config) bool {
	b := &planner{program: p, config: cfg}
	rules, err := p.allChannels(b.process())
	return err == nil && rules.Ordered() != nil
}

// dataWritable says why data_dir, if it is needed, could not be written. Start and
// reload ask this as check and restart do.
func (p *Program) dataWritable(cfg *config.Config) error {
	what := p.dataFor(cfg)
	if what == "" {
		return nil
	}
	err := master.Writable(cfg.DataDir)
	if err == nil && hooked(cfg) {
		what, err = forHooks, master.Writable(filepath.Join(cfg.DataDir, "webhooks"))
	}
	if err != nil {
		return fmt.Errorf("%w; it is needed for %s (data_dir, or PUSHD_DATA_DIR in the environment, names another)", err, what)
	}
	return nil
}

// dataDir says why the broker process could not keep its files.
func (p *Program) dataDir(cfg *config.Config, former []int) error {
	if err := p.dataWritable(cfg); err != nil {
		return err
	}
	dir, err := master.OpenFolder(cfg.DataDir, append(former, brokerOwner(cfg)...)...)
	if err == nil {
		defer dir.Close()
		if cfg.API.Key == "" {
			_, err = readKey(dir)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the first start writes it
	}
	return err
}
