package php

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Patience is how long a program may take to say what it would listen on. It is
// less than what a master gives to a whole plan.
const Patience = 6 * time.Second

// Command is how a program is run.
type Command struct {
	PHP    string   // the binary, looked up in PATH; "" = php
	Flags  []string // of PHP, before the file
	File   string   // the program, absolute
	Args   []string // the program's own, behind the file
	Dir    string   // its working directory
	Shim   string   // what Write has returned
	Env    []string // "KEY=value"
	Daemon bool     // echo goes where the program says, as when Workerman is a daemon
	Alone  bool     // the server is of this program and no other: it may stop it

	ini  string // folder of ini files to be read in place of PHP's own, "" = those
	off  string // functions that a handler's PHP has switched off, once there was a plan
	verb bool   // Workerman's verb is among the arguments, see verb.go
}

// Group is one Worker or server of a program.
type Group struct {
	Name   string   `json:"name"`
	Listen []string `json:"listen"`
	Count  int      `json:"count"`
	User   string   `json:"user"`
	Group  string   `json:"group"`
	TLS    *TLS     `json:"tls"`
	Error  string   `json:"error"` // what is wrong with it

	MaxMessage     int `json:"max_message"`     // bytes; 0 = pushd's limit, which a larger one does not raise
	MaxBody        int `json:"max_body"`        // bytes of a request's; 0 = pushd's limit
	MaxConnections int `json:"max_connections"` // of a process; 0 = pushd's limit
}

// TLS are the files of a group whose transport is ssl.
type TLS struct {
	Cert     string `json:"cert"`
	Key      string `json:"key"`
	ClientCA string `json:"client_ca"` // clients need a certificate by one of its
}

// Program is what a file says of itself.
type Program struct {
	Kind      string  `json:"kind"` // "workerman", "ratchet" or "swoole"
	Groups    []Group `json:"groups"`
	Daemonize bool    `json:"daemonize"` // start goes to the background without -d
}

// ServedEnv is the variable that tells a handler's process what Served returns: a
// program that declares something else by then says so in the log. (PUSHD_ is for
// the server: no script gets such variables.)
const ServedEnv = "SERVED_BY_PUSHD"

// lookEnv tells a program that it is only asked, as RunEnv and RunLook of protocol/script have it.
const lookEnv = "STARTED_BY_PUSHD=look"

// Served is what a program has declared, as JSON for shim/plan.php: names,
// addresses and counts.
func (p *Program) Served() string {
	type group struct {
		Name   string   `json:"name"`
		Listen []string `json:"listen"`
		Count  int      `json:"count"`
	}
	all := make([]group, len(p.Groups))
	for i, g := range p.Groups {
		all[i] = group{g.Name, g.Listen, g.Count}
	}
	raw, _ := json.Marshal(all) // strings and numbers
	return string(raw)
}

// said is all that may come from a plan run.
type said struct {
	Program
	Error     string `json:"error"`
	Ended     bool   `json:"ended"`
	Opens     string `json:"opens"` // a function that opens a socket
	At        string `json:"at"`
	Extension string `json:"extension"` // that is in the way
	PHP       int    `json:"php"`       // its version, 80100 is 8.1.0
	Off       string `json:"off"`       // functions that the ini files switch off
	INI       string `json:"ini"`
	Scanned   string `json:"scanned"`
}

// asked asks a program with the arguments that it has now. What it prints goes to out. It
// is asked again where an extension is in the way.
func (c *Command) asked(ctx context.Context, out io.Writer) (*said, error) {
	for range 2 {
		s, err := c.ask(ctx, out)
		if err != nil || s.Extension == "" {
			return s, err
		}
		fmt.Fprintf(out, "pushd: the extension %s is loaded in this PHP and has the classes that pushd brings: the program runs without it\n", s.Extension)
		if err := c.without(s); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: PHP has the extension swoole compiled in: use another PHP (PUSHD_PHP names one)", c.File)
}

// off is what the ini files switch off and what has another meaning in a handler: of
// two lists PHP takes one.
func (s *said) off() string {
	if s.PHP < 80100 {
		return s.Off
	}
	return strings.TrimPrefix(s.Off+","+OwnCalls, ",")
}

func (c *Command) judge(s *said) (*Program, error) {
	switch {
	case s.Opens != "":
		return nil, fmt.Errorf("%s calls %s(): it opens sockets of its own, which pushd cannot keep. %s", s.At, s.Opens, instead(s.Opens))
	case s.Ended:
		return nil, fmt.Errorf("%s: %s: is it the file that starts the server, and does it need arguments of its own (pushctl php FILE start -- ARGUMENT…)?", c.File, s.Error)
	case s.Error != "":
		return nil, fmt.Errorf("%s: %s", c.File, s.Error)
	}
	var errs []error
	for _, g := range s.Groups {
		if g.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", c.File, g.Error))
		}
	}
	if len(errs) == 0 && len(s.Groups) == 0 {
		errs = append(errs, fmt.Errorf("%s: runAll() is called, but there is no Worker", c.File))
	}
	return &s.Program, errors.Join(errs...)
}

// instead names the example that does the same.
func instead(call string) string {
	if call == "pcntl_fork" {
		return "pushd starts the processes: $worker->count says how many (examples/workerman/start.php)"
	}
	return "The same as a Worker of websocket://, in a third of the lines: examples/chat/chat.php"
}

// ask runs PHP once.
func (c *Command) ask(ctx context.Context, out io.Writer) (*said, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	args, env := c.run(Plan)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = c.Dir, slices.Concat(Environment(os.Environ()), c.Env, env, []string{lookEnv}), []*os.File{w}
	var words tail
	cmd.Stdout, cmd.Stderr = io.MultiWriter(out, &words), io.MultiWriter(out, &words)
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	runtime.LockOSThread() // see attributes
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("run PHP: %w%s", err, c.packaged())
	}
	w.Close()
	answer := make(chan []byte, 1)
	go func() {
		raw, _ := io.ReadAll(io.LimitReader(r, 4<<20))
		answer <- raw
	}()
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	r.SetReadDeadline(time.Now().Add(time.Second)) // somebody it has started may hold the other end
	raw := <-answer
	words.endLine(out)
	var s said
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 {
		return &s, nil
	}
	return nil, c.silent(ctx, err, words.String())
}

// packaged says what gives one the PHP that nobody has named.
func (c *Command) packaged() string {
	if or(c.PHP, "php") == "php" {
		return " (Debian: apt-get install php-cli)"
	}
	return ""
}

// silent is the error of a run that has said nothing.
func (c *Command) silent(ctx context.Context, err error, words string) error {
	if words == "" {
		words = "it has printed nothing"
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s did not come to Worker::runAll(), $app->run() or $server->start() in %s: what comes before must not wait or loop (%s)", c.File, Patience, words)
	}
	why := "ended"
	if err != nil {
		why = "ended with " + err.Error()
	}
	return fmt.Errorf("%s: PHP %s before it said what it listens on: %s", c.File, why, words)
}

// tail keeps the end of what is printed.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2 << 10
	t.b = append(t.b, p...)
	if len(t.b) > most {
		t.b = append(t.b[:0], t.b[len(t.b)-most:]...)
	}
	return len(p), nil
}

// endLine ends the line that was printed last, so that nobody goes on in it.
func (t *tail) endLine(out io.Writer) {
	if len(t.b) > 0 && t.b[len(t.b)-1] != '\n' {
		io.WriteString(out, "\n")
	}
}

func (t *tail) String() string { return strings.TrimSpace(string(bytes.ToValidUTF8(t.b, []byte("?")))) }

// Handler is the command line of a handler process, and its environment beside
// that of pushd.
func (c *Command) Handler() (args []string, env map[string]string) {
	args, list := c.run(Handler)
	env = map[string]string{}
	for _, e := range append(append([]string{}, c.Env...), list...) {
		key, value, _ := strings.Cut(e, "=")
		env[key] = value
	}
	return args, env
}

func (c *Command) run(role Role) (args, env []string) {
	args = append([]string{or(c.PHP, "php")}, Args(c.Shim, role)...)
	if role == Handler && c.off != "" {
		args = append(args, "-d", "disable_functions="+c.off)
	}
	if c.Daemon {
		args = append(args, "-d", "pushd.daemon=1")
	}
	if name := c.name(); name != "" {
		args = append(args, "-d", "pushd.name="+name)
	}
	if c.Alone {
		args = append(args, "-d", "pushd.alone=1")
	}
	if c.ini != "" {
		args = append(args, "-c", filepath.Join(c.ini, "php.ini"))
		env = append(env, "PHP_INI_SCAN_DIR="+filepath.Join(c.ini, "conf.d"))
	}
	return slices.Concat(args, c.Flags, []string{c.File}, c.words()), env
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

var loads = regexp.MustCompile(`(?mi)^[ \t]*(zend_)?extension[ \t]*=.*swoole.*$`)

// without copies PHP's ini files, but for the lines that load swoole.
func (c *Command) without(s *said) error {
	c.ini = filepath.Join(filepath.Dir(c.Shim), "ini")
	if err := os.MkdirAll(filepath.Join(c.ini, "conf.d"), 0o755); err != nil {
		return fmt.Errorf("write ini files for PHP: %w", err)
	}
	copyTo := func(from, to string) error {
		var text []byte
		if from != "" {
			var err error
			if text, err = os.ReadFile(from); err != nil {
				return err
			}
		}
		return replace(to, loads.ReplaceAll(text, nil))
	}
	if err := copyTo(s.INI, filepath.Join(c.ini, "php.ini")); err != nil {
		return fmt.Errorf("write ini files for PHP: %w", err)
	}
	for i, f := range strings.Split(s.Scanned, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		if err := copyTo(f, filepath.Join(c.ini, "conf.d", fmt.Sprintf("%03d-%s", i, filepath.Base(f)))); err != nil {
			return fmt.Errorf("write ini files for PHP: %w", err)
		}
	}
	return nil
}

// Environment leaves out what is pushd's own, secrets among it.
func Environment(all []string) (out []string) {
	for _, e := range all {
		if !strings.HasPrefix(e, "PUSHD_") && !strings.HasPrefix(e, "NOTIFY_SOCKET=") {
			out = append(out, e)
		}
	}
	return out
}
