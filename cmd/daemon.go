package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// readyEnv names the descriptor on which a daemon tells the command that
// started it that it is ready, or why not. Its stderr is the same pipe until
// the master opens the log, so that a crash before that is heard too.
const readyEnv = "PUSHD_READY_FD"

// Lines on that pipe; anything else is what a crash has printed.
const (
	sayReady  = "ready " // JSON of master.Started
	sayFailed = "failed "
)

// maxReason bounds what is kept of a crash's output, in bytes.
const maxReason = 64 << 10

// readyPipe returns the pipe if this process was started as a daemon.
func readyPipe() *os.File {
	n, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil || n < 3 {
		return nil
	}
	os.Unsetenv(readyEnv)
	syscall.CloseOnExec(n)
	return os.NewFile(uintptr(n), "ready")
}

// socketsEnv names the listening sockets that a daemon is started with.
const socketsEnv = "PUSHD_SOCKETS"

// give passes listening sockets on to d.
func give(d *exec.Cmd, sockets []master.Socket) {
	if len(sockets) == 0 {
		return
	}
	given := slices.Clone(sockets)
	for i := range given {
		d.ExtraFiles = append(d.ExtraFiles, os.NewFile(uintptr(given[i].FD), given[i].Address))
		given[i].FD = 2 + len(d.ExtraFiles)
	}
	d.Env = append(d.Env, socketsEnv+"="+string(mustJSON(given)))
}

// givenSockets returns what give has passed on.
func givenSockets() (sockets []master.Socket, err error) {
	text := os.Getenv(socketsEnv)
	if text == "" {
		return nil, nil
	}
	os.Unsetenv(socketsEnv)
	if err := json.Unmarshal([]byte(text), &sockets); err != nil {
		return nil, fmt.Errorf("%s: %w", socketsEnv, err)
	}
	for _, s := range sockets {
		syscall.CloseOnExec(s.FD)
	}
	return sockets, nil
}

// startAsDaemon is the master of `start -d`, in a session of its own.
func (c *call) startAsDaemon(cfg *config.Config, path string, ready *os.File) (err error) {
	o := c.options(cfg, path)
	o.LogFile = daemonLog(c.program, cfg)
	if o.Sockets, err = givenSockets(); err != nil {
		return err
	}
	o.Announce = func(s master.Started) {
		line, err := json.Marshal(s)
		if err == nil {
			fmt.Fprintf(ready, "%s%s\n", sayReady, line)
		}
		ready.Close()
	}
	err = c.explain(master.Run(context.Background(), o), cfg)
	if err != nil {
		fmt.Fprintf(ready, "%s%q\n", sayFailed, err.Error()) // nobody reads it once it was ready
		return errTold
	}
	return nil
}

// daemonLog is where a daemon logs to when the config names no file.
func daemonLog(p *Program, cfg *config.Config) string {
	if cfg.LogFile != "" {
		return cfg.LogFile
	}
	return filepath.Join(cfg.RuntimeDir, p.Name+".log")
}

// daemonize starts the daemon and waits until it is ready or has failed.
func (c *call) daemonize(cfg *config.Config, path string, sockets []master.Socket) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	defer r.Close()
	d := exec.Command(path, append(append(c.program.prefix(), "start"), c.sameFlags(cfg)...)...)
	d.Env = append(os.Environ(), readyEnv+"=3")
	d.Stderr, d.ExtraFiles = w, []*os.File{w}
	give(d, sockets)
	d.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = d.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, master.Heeded(syscall.SIGINT, syscall.SIGTERM)...)
	defer signal.Stop(interrupted)
	go func() {
		if s, ok := <-interrupted; ok && s != nil {
			d.Process.Signal(syscall.SIGTERM)
		}
	}()
	started, err := awaitReady(r)
	if err != nil {
		d.Wait()
		return err
	}
	d.Process.Release()
	return c.tellDaemon(cfg, started)
}

func (c *call) tellDaemon(cfg *config.Config, s master.Started) error {
	if c.json() {
		return writeJSON(c.out, startedJSON(s, false))
	}
	c.announce(cfg, s)
	fmt.Fprintf(c.out, "ready (`%s stop` stops)\n", c.program.typed())
	return nil
}

// awaitReady reads the daemon's word.
func awaitReady(r io.Reader) (s master.Started, err error) {
	var noise strings.Builder
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		switch {
		case strings.HasPrefix(line, sayReady):
			err := json.Unmarshal([]byte(line[len(sayReady):]), &s)
			return s, err
		case strings.HasPrefix(line, sayFailed):
			reason, err := strconv.Unquote(strings.TrimSpace(line[len(sayFailed):]))
			if err != nil {
				reason = line
			}
			return s, errors.New(reason)
		case noise.Len() < maxReason:
			noise.WriteString(line)
		}
		if err != nil {
			return s, fmt.Errorf("start failed: the daemon ended without a word: %s", strings.TrimSpace(noise.String()))
		}
	}
}
