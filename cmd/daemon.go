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

// startAsDaemon is the master of `start -d`, in a session of its own. Why it fails
// goes to the command by report, as all that such a process refuses.
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
	return c.explain(master.Run(context.Background(), o), cfg)
}

// sayWhyNot tells the command that started this daemon why it ends; once it was ready
// nobody reads that.
func sayWhyNot(ready *os.File, err error) { fmt.Fprintf(ready, "%s%q\n", sayFailed, err.Error()) }

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
	interrupted := make(chan os.Signal, 1) // caught from before there is a daemon, which would outlive us
	signal.Notify(interrupted, master.Heeded(syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)...)
	err = d.Start()
	w.Close()
	if err != nil {
		signal.Stop(interrupted)
		return fmt.Errorf("start daemon: %w", err)
	}
	enough := passOn(interrupted, d.Process)
	started, err := awaitReady(r)
	stopped := enough()
	if err != nil || stopped {
		d.Wait()
		return notStarted(err, stopped, d.ProcessState)
	}
	d.Process.Release()
	return c.tellDaemon(cfg, started)
}

// passOn stops the daemon at the first signal. enough ends that, and says whether one came.
func passOn(signals chan os.Signal, daemon *os.Process) (enough func() bool) {
	came := make(chan bool, 1)
	go func() {
		_, ok := <-signals
		if ok {
			daemon.Signal(syscall.SIGTERM) // it may have ended by itself
		}
		came <- ok
	}()
	return func() bool {
		signal.Stop(signals)
		close(signals)
		return <-came
	}
}

// errMute is of a daemon that has said neither that it is ready nor why not.
var errMute = errors.New("start failed: the daemon ended without a word")

// notStarted is why there is no daemon: what it has said, else what is known of its end.
func notStarted(err error, stopped bool, end *os.ProcessState) error {
	switch {
	case stopped && (err == nil || errors.Is(err, errMute)): // the signal came before it listened, or when it had become ready
		return errors.New("start failed: stopped before it was ready")
	case err == errMute:
		return fmt.Errorf("%w: %s", err, end)
	}
	return err
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
			if crash := strings.TrimSpace(noise.String()); crash != "" {
				return s, fmt.Errorf("%w: %s", errMute, crash)
			}
			return s, errMute
		}
	}
}
