package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker/memory"
)

// start becomes the master, or with -d starts it in a session of its own.
func start(c *call) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	return c.start(cfg)
}

func (c *call) start(cfg *config.Config) error {
	if pid, ok := master.MasterPID(cfg.RuntimeDir); ok {
		return c.running(pid, cfg.RuntimeDir)
	}
	if err := master.CheckFolder(cfg.RuntimeDir); err != nil {
		return fmt.Errorf("%w (--runtime-dir names one)", err)
	}
	return c.startWith(cfg, nil)
}

// startWith starts with sockets that are open already.
func (c *call) startWith(cfg *config.Config, sockets []master.Socket) error {
	path, err := programPath()
	if err != nil {
		return err
	}
	if ready := c.program.ready; ready != nil {
		return c.startAsDaemon(cfg, path, ready)
	}
	c.warnOfDescriptors()
	for _, note := range misspeltVariables(cfg) {
		fmt.Fprintf(c.err, "warning: %s\n", note)
	}
	for _, note := range cfg.Overridden() {
		fmt.Fprintf(c.err, "note: %s\n", note)
	}
	for _, r := range roomForLog(cfg) {
		fmt.Fprintf(c.err, "warning: %s\n", r.says)
	}
	if c.flags.Bool("daemon") {
		return c.daemonize(cfg, path, sockets)
	}
	closeInherited(c.program.inherited)
	o := c.options(cfg, path)
	o.Foreground, o.Sockets = true, sockets
	o.Announce = func(s master.Started) {
		if c.json() {
			writeJSON(c.out, startedJSON(s, true))
			return
		}
		c.announce(cfg, s)
		fmt.Fprintln(c.out, "ready (Ctrl-C stops)")
	}
	return c.explain(master.Run(context.Background(), o), cfg)
}

// options are what the master needs to know; the rest it learns from the plan,
// which it makes with the same flags at each reload.
func (c *call) options(cfg *config.Config, path string) master.Options {
	args := append(append(c.program.prefix(), "plan"), c.sameFlags(cfg)...)
	return master.Options{
		Program: path, PlanArgs: args, RuntimeDir: cfg.RuntimeDir, Dir: master.WorkingDir(), Version: Version,
		Look: cfg.TLSLook, Calm: memory.Return,
	}
}

// sameFlags make another run of this program read the same config. A
// runtime_dir out of the file is not among them: when the file changes, reload
// has to see it.
func (c *call) sameFlags(cfg *config.Config) (args []string) {
	if cfg.File != "" {
		args = append(args, "--config", cfg.File)
	}
	if c.flags.String("runtime-dir") != "" {
		args = append(args, "--runtime-dir", cfg.RuntimeDir)
	}
	return args
}

// programPath returns the path that a new version of this program will be put
// at: the one it was called by, symbolic links kept.
func programPath() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's path: %w", err)
	}
	called, err := exec.LookPath(os.Args[0])
	if err == nil {
		called, err = filepath.Abs(called)
	}
	if err != nil || !sameFile(called, exe) {
		return exe, nil
	}
	return called, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// running is the error of a second start. Of the PHP programs of a machine it
// names the one.
func (c *call) running(pid int, dir string) error {
	if client, err := master.Dial(dir); err == nil {
		client.Close()
	} else if errors.Is(err, master.ErrNotRunning) && pid > 0 {
		return &unanswered{pid, dir}
	}
	name := ""
	if c.program.script != nil {
		name = c.program.script.words(c.program.script.typed) + " is "
	}
	return fmt.Errorf("%salready running as pid %d in %s: use `%s reload`, `%s restart`, or another --runtime-dir",
		name, pid, dir, c.program.typed(), c.program.typed())
}

// explain says what to do about a start that failed.
func (c *call) explain(err error, cfg *config.Config) error {
	var running *master.AlreadyRunningError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &running):
		return c.running(running.PID, cfg.RuntimeDir)
	}
	return fmt.Errorf("start failed: %w", elsewhere(err, cfg))
}

// announce prints the table of what runs.
func (c *call) announce(cfg *config.Config, s master.Started) {
	from := cfg.File
	if from == "" {
		from = "built-in defaults"
	}
	fmt.Fprintf(c.out, "%s, master %d, config %s\n\n", c.program.version(), s.PID, from)
	t := newTable("NAME", "USER", "LISTEN", ">COUNT", "STATE")
	for _, g := range s.Groups {
		for i, addr := range orNone(g.Listen) {
			if i > 0 {
				t.add("", "", addr, "", "")
				continue
			}
			t.add(g.Name, userName(g.User), addr, fmt.Sprint(g.Count), "ready")
		}
	}
	for i, addr := range orNone(s.Broker) {
		name, user, count, state := "broker", userName(s.BrokerUser), "1", "ready"
		if i > 0 {
			name, user, count, state = "", "", "", ""
		}
		t.add(name, user, addr, count, state)
	}
	t.paint = c.screen().paint
	t.write(c.out)
	fmt.Fprintln(c.out)
	for _, line := range roomOf(cfg, s.Groups) {
		fmt.Fprintln(c.out, line)
	}
	fmt.Fprintf(c.out, "runtime dir %s", clean(s.RuntimeDir))
	if s.LogFile != "" {
		fmt.Fprintf(c.out, ", log %s", clean(s.LogFile))
	}
	fmt.Fprintln(c.out)
	for _, url := range pages(cfg, s) {
		fmt.Fprintf(c.out, "open %s\n", url)
	}
	for _, address := range s.Chosen {
		c.warnOfPort(address)
	}
}

// warnOfPort is of a listener at port 0. Who has that out of a text, as a PHP program by (int),
// wonders where it listens.
func (c *call) warnOfPort(address string) {
	why := ""
	if c.program.script != nil {
		why = "; (int) of a text that is no number is 0, and so is that of an argument that is not given"
	}
	fmt.Fprintf(c.err, "warning: the port of %s is a random one, and another at each start, since port 0 was asked for%s\n", clean(address), why)
}

// roomOf says how many connections each group takes, and which limit that is.
func roomOf(cfg *config.Config, groups []master.StartedGroup) (lines []string) {
	for _, g := range groups {
		why := "the limit of open files (ulimit -n)"
		for _, w := range cfg.Workers {
			if w.Name == g.Name && w.Settings.Limits.MaxConnections == g.Room {
				why = "limits.max_connections"
			}
		}
		if g.Room > 0 {
			lines = append(lines, fmt.Sprintf("room for %d connections in each process of %s: %s", g.Room, clean(g.Name), why))
		}
	}
	return lines
}

func orNone(addrs []string) []string {
	if len(addrs) == 0 {
		return []string{"-"}
	}
	return addrs
}

// startedJSON is the object of `start --json`.
func startedJSON(s master.Started, foreground bool) any {
	type group struct {
		Name   string   `json:"name"`
		User   string   `json:"user"`
		Listen []string `json:"listen"`
		Count  int      `json:"count"`
		Room   int      `json:"connections_limit"` // of each process
	}
	groups := make([]group, len(s.Groups))
	for i, g := range s.Groups {
		groups[i] = group{g.Name, userName(g.User), g.Listen, g.Count, g.Room}
	}
	return map[string]any{
		"ok": true, "pid": s.PID, "version": s.Version, "runtime_dir": s.RuntimeDir,
		"log_file": s.LogFile, "foreground": foreground, "workers": groups, "broker": s.Broker,
	}
}

// fewDescriptors is a limit of open files under which each worker has room for
// hardly any client beside what it needs itself.
const fewDescriptors = 128

// warnOfDescriptors says so before anything is started.
func (c *call) warnOfDescriptors() {
	if soft, hard := nofile(); max(soft, hard) < fewDescriptors {
		fmt.Fprintf(c.err, "warning: a process may have %d files open, a connection is one: workers will let hardly anybody in (`ulimit -n` of the shell that starts it raises it)\n", max(soft, hard))
	}
}
