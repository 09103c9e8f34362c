package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/master/logwriter"
	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
)

// child is a process that the master has started, before it is a worker or the
// broker.
type child struct {
	program *Program
	control *control.Conn
	init    control.Init
	log     *slog.Logger
	lines   *logwriter.Writer // of log
	certs   *certs.Store
}

// runChild runs this process as the child that the master wants it to be and
// returns its exit code. Failures go to the master, which reports them to
// whoever asked for the start or reload.
func runChild(p *Program, role control.Role) int {
	title("pushd-" + string(role))
	swallowSignals()
	dumpOnAbort()
	c, err := openChild(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: start as %s: %v\n", p.Name, role, err)
		return 1
	}
	defer c.lines.Flush(flushWait)
	if err := c.run(role); err != nil {
		c.report(err)
		return 1
	}
	return 0
}

// flushWait bounds how long a child that ends waits for its last lines to be
// read.
const flushWait = 200 * time.Millisecond

// swallowSignals makes this process leave only when the master orders it, or is
// gone: terminals and service managers send their signals to all processes.
// They are caught rather than ignored, which programs that a handler starts
// would inherit; what was ignored before stays so for them too.
func swallowSignals() {
	signal.Notify(make(chan os.Signal, 1), master.Heeded(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)...)
}

// dumpOnAbort writes the stacks of all goroutines to the log when the watchdog
// aborts this process. Go's own answer to SIGABRT leaves out what is running,
// which is the callback to blame.
func dumpOnAbort() {
	abort := make(chan os.Signal, 1)
	signal.Notify(abort, syscall.SIGABRT)
	go func() {
		<-abort
		fmt.Fprint(os.Stderr, "SIGABRT: abort\n\n")
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2) // the log may be gone
		os.Exit(2)
	}()
}

func openChild(p *Program) (*child, error) {
	f := os.NewFile(control.FD, "control")
	if f == nil {
		return nil, errors.New("there is no control descriptor: this variable is for the master only")
	}
	conn, err := control.Open(f)
	if err != nil {
		return nil, err
	}
	m, files, err := conn.Receive()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		f.Close()
	}
	c := &child{program: p, control: conn, log: slog.Default(), lines: logwriter.New(func() *os.File { return os.Stderr })}
	if m.Type != control.TypeInit {
		return nil, fmt.Errorf("first control message is %q, not %q", m.Type, control.TypeInit)
	}
	if err := json.Unmarshal(m.Body, &c.init); err != nil {
		return nil, fmt.Errorf("read init message: %w", err)
	}
	for _, l := range c.init.Listeners {
		syscall.CloseOnExec(l.FD)
	}
	for _, kept := range c.init.Copies {
		syscall.CloseOnExec(kept.FD)
	}
	for _, fd := range []int{c.init.BusFD, c.init.BalanceFD} {
		if fd > 0 {
			syscall.CloseOnExec(fd)
		}
	}
	return c, nil
}

func (c *child) run(role control.Role) error {
	if v := c.init.Version; v > control.Version {
		return control.AtStep("read init", fmt.Errorf("the master speaks control version %d, this program %d: use restart", v, control.Version))
	}
	if c.init.Role != role {
		return control.AtStep("read init", fmt.Errorf("started as %q, told to be %q", role, c.init.Role))
	}
	var err error
	_ = certs.HideMemory() // in vain here, the master has said so
	if c.certs, err = certs.Inherit(c.init.Copies); err != nil {
		return control.AtStep("read certificates", err)
	}
	switch role {
	case control.RoleWorker:
		return c.runWorker()
	case control.RoleBroker:
		return c.runBroker()
	}
	return control.AtStep("read init", fmt.Errorf("this program has no role %q", role))
}

// report logs why this process gives up and, if that is not known there yet,
// tells the master.
func (c *child) report(err error) {
	c.log.Error("process gives up", "process", fmt.Sprintf("%s/%d", c.init.Name, c.init.Slot), "error", err)
	var s *control.StepError
	if errors.As(err, &s) {
		c.control.Send(control.TypeFailed, 0, control.Failed{Step: s.Step, Error: s.Err.Error()}) // the master may be gone
	}
}

// setLog makes the default logger of this process. Lines go to stderr, which
// the master has pointed at the log; nobody waits for its reader.
func (c *child) setLog(p processSpec) {
	c.log = newLogger(c.lines, p.LogLevel, p.LogFormat)
	slog.SetDefault(c.log)
}

func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	return slog.New(master.NewLogHandler(w, level, format))
}
