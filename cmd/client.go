package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// dirs are the runtime folders in which a master may be: the one that was
// named, or all the usual ones. A config that is not valid does not keep a
// command from the master that still runs on an older version of it.
func (c *call) dirs() (dirs []string, cfg *config.Config) {
	src := c.source()
	cfg, _ = c.program.load(src)
	if cfg == nil {
		cfg = &config.Config{}
	}
	usual := src.RuntimeDirs()
	if cfg.RuntimeDir != "" && cfg.RuntimeDir != usual[0] {
		return []string{cfg.RuntimeDir}, cfg
	}
	return usual, cfg
}

// dial finds the master.
func (c *call) dial() (*master.Client, error) {
	dirs, cfg := c.dirs()
	for _, dir := range dirs {
		client, err := master.Dial(dir)
		if err == nil {
			return client, nil
		}
		if !errors.Is(err, master.ErrNotRunning) {
			return nil, err
		}
	}
	for _, dir := range dirs {
		if pid, runs := master.MasterPID(dir); runs {
			return nil, &unanswered{pid, dir}
		}
	}
	return nil, &notRunning{program: c.program.typed(), dirs: dirs, config: cfg}
}

// unanswered is the error of a master that has its lock and nobody can talk to.
type unanswered struct {
	pid int
	dir string
}

func (e *unanswered) Error() string {
	return fmt.Sprintf("pid %d runs in %s and does not answer: unless it starts or stops just now, somebody has removed its control.sock; `kill -USR1 %d` makes that anew, and reloads", e.pid, e.dir, e.pid)
}

// notRunning names every place that was searched for a master.
type notRunning struct {
	program string
	dirs    []string
	config  *config.Config
}

func (e *notRunning) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no master answers in %s", strings.Join(e.dirs, " or "))
	if e.config.File != "" {
		fmt.Fprintf(&b, " (config %s)", e.config.File)
	} else if len(e.config.Searched) > 0 { // a program of its own, as one of PHP, looks for none
		fmt.Fprintf(&b, " (no config in %s)", strings.Join(e.config.Searched, " or "))
	}
	fmt.Fprintf(&b, ": use `%s start`, or name its config with -c or its folder with --runtime-dir", e.program)
	return b.String()
}

func (e *notRunning) Is(target error) bool { return target == master.ErrNotRunning }

// keyOf reads the generated key, of this user's pushd or, as root, of any.
func keyOf(cfg *config.Config) (string, error) {
	dir, err := master.OpenShared(cfg.DataDir, brokerOwner(cfg)...)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	return readKey(dir)
}

// apiKey returns the key that the API asks for.
func apiKey(cfg *config.Config) (string, error) {
	if cfg.API.Key != "" {
		return cfg.API.Key, nil
	}
	key, err := keyOf(cfg)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no API key in the config and none in %s yet: is pushd running with this config?",
			cfg.KeyFile())
	}
	if err != nil {
		return "", fmt.Errorf("read API key: %w", err)
	}
	return key, nil
}
