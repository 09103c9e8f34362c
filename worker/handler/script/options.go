package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

// Options are those of the handler "script", as JSON; a config may put them
// beside `script = "…"` in [[worker]].
type Options struct {
	Script      Command           `json:"script"`       // the program: "php start.php", or a list
	Dir         string            `json:"dir"`          // its working directory; default: that of the config, else of pushd
	Env         map[string]string `json:"env"`          // beside pushd's own without PUSHD_*
	Queue       Size              `json:"queue"`        // bytes of events that it has not done, then its clients wait; default 1 MiB
	Callback    Duration          `json:"callback"`     // how long a batch may take; default 5 s
	Start       Duration          `json:"start"`        // until it is ready; default 10 s
	Memory      Size              `json:"memory"`       // bytes; at it the process is replaced, at most() it gets no more; default 256 MiB, 0 = no limit
	MaxMessages int               `json:"max_messages"` // after so many the process is replaced; default 0 = never
	AfterCrash  string            `json:"after_crash"`  // "close-held" (default), or "keep": those that only the dead process knew stay
	Title       string            `json:"title"`        // names it in logs; default: the second word of script, else the first
	Output      string            `json:"output"`       // of what it prints: "log" (default), lines of the log; "raw", lines as they are
	Watch       bool              `json:"watch"`        // for development: replaced when a file of it changes
	AllowRoot   bool              `json:"allow_root"`   // else a script is not run as root
}

// Command is a program and its arguments: a list, or text that is cut at blanks
// but within quotes.
type Command []string

// Size is a number of bytes: 1048576 or "1MiB".
type Size int64

// Duration is a time: "5s", or nanoseconds.
type Duration time.Duration

const (
	keepHeld  = "keep"
	closeHeld = "close-held"
	rawOutput = "raw"
)

const (
	minQueue    = 4 << 10
	minCallback = 10 * time.Millisecond
	minMemory   = 8 << 20
)

// parse reads and judges the options of a route.
func parse(o worker.Options) (Options, error) {
	out := Options{Queue: 1 << 20, Callback: Duration(5 * time.Second), Start: Duration(10 * time.Second), Memory: 256 << 20, AfterCrash: closeHeld}
	if err := o.Decode(&out); err != nil {
		return out, err
	}
	return out, out.check()
}

func (o *Options) check() error {
	bad := func(key, format string, a ...any) error {
		return fmt.Errorf("options: %s: %s", key, fmt.Sprintf(format, a...))
	}
	switch {
	case len(o.Script) == 0:
		return bad("script", `names no program: script = "php start.php"`)
	case o.Queue < minQueue:
		return bad("queue", "at least 4KiB")
	case time.Duration(o.Callback) < minCallback:
		return bad("callback", "at least 10ms")
	case time.Duration(o.Start) < minCallback:
		return bad("start", "at least 10ms")
	case o.Memory != 0 && o.Memory < minMemory:
		return bad("memory", "at least 8MiB, or 0 for no limit")
	case o.MaxMessages < 0:
		return bad("max_messages", "is negative: use 0 for never")
	case o.AfterCrash != keepHeld && o.AfterCrash != closeHeld:
		return bad("after_crash", `%q: use "close-held" or "keep"`, o.AfterCrash)
	}
	if o.Output != "" && o.Output != "log" && o.Output != rawOutput {
		return bad("output", `%q: use "log" or "raw"`, o.Output)
	}
	for key, value := range o.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.HasPrefix(key, "PUSHD_") {
			return bad("env", "%q is no name of a variable for a script", key)
		}
		if strings.Contains(value, "\x00") {
			return bad("env", "%s: a value cannot contain a zero byte", key)
		}
	}
	if strings.Contains(strings.Join(o.Script, "")+o.Dir, "\x00") {
		return bad("script", "neither it nor dir can contain a zero byte")
	}
	return nil
}

// most is how many bytes the kernel gives a process, 0 for no limit: a language with a limit of
// its own meets that first, and can say what it leaves. A text that grows may be there twice.
func (o *Options) most() int64 {
	if o.Memory == 0 {
		return 0
	}
	return 2*int64(o.Memory) + 64<<20
}

// find looks for the program and its working directory as the start of it will.
func (o *Options) find() error {
	if o.Dir != "" {
		if s, err := os.Stat(o.Dir); errors.Is(err, fs.ErrNotExist) || err == nil && !s.IsDir() {
			return fmt.Errorf("options: dir: %s is no folder", o.Dir)
		}
		if errors.Is(unix.Faccessat(unix.AT_FDCWD, o.Dir, unix.X_OK, unix.AT_EACCESS), fs.ErrPermission) {
			return fmt.Errorf("options: dir: the user of the script may not enter %s: chmod o+x it, and the folders above, or name another", o.Dir)
		}
	}
	name := o.Script[0]
	if filepath.Base(name) != name && !filepath.IsAbs(name) {
		name = filepath.Join(o.Dir, name)
	}
	_, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("options: script: there is no program %s", name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("options: script: the user of the script may not run %s", name)
	}
	return nil
}

// environment returns Env as "KEY=value", behind which run this is, unless Env says that.
func (h *handler) environment(setup wire.Config) []string {
	run := wire.RunNext
	if h.w.First() && setup.Slot == 0 && setup.Births == 1 {
		run = wire.RunFirst
	}
	out := []string{wire.RunEnv + "=" + run}
	for k, v := range h.o.Env {
		out = append(out, k+"="+v)
	}
	return out
}

// files are those of the command that exist, with their absolute names: what
// `watch` looks at.
func (o *Options) files() (out []string) {
	for _, arg := range o.Script {
		name := arg
		if !filepath.IsAbs(name) {
			name = filepath.Join(o.Dir, name)
		}
		if s, err := os.Stat(name); err == nil && s.Mode().IsRegular() {
			out = append(out, name)
		}
	}
	return out
}

// UnmarshalJSON reads a list or text.
func (c *Command) UnmarshalJSON(b []byte) error {
	var list []string
	var text string
	var err error
	if json.Unmarshal(b, &text) == nil {
		list, err = wire.Split(text)
	} else if json.Unmarshal(b, &list) != nil {
		err = errors.New("script: must be a string or a list of strings")
	}
	*c = list
	return err
}

// UnmarshalJSON reads a number or text.
func (s *Size) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil && n >= 0 && n < 1<<40 {
		*s = Size(n)
		return nil
	}
	var text string
	bad := fmt.Errorf(`%s is no size: write a number of bytes, or "64KiB", "16MiB", "1GiB"`, b)
	if json.Unmarshal(b, &text) != nil {
		return bad
	}
	for _, u := range []struct {
		suffix string
		shift  uint
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}} {
		if digits, ok := strings.CutSuffix(text, u.suffix); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 40)
			if err != nil || n > 1<<40>>u.shift {
				return bad
			}
			*s = Size(n << u.shift)
			return nil
		}
	}
	return bad
}

// UnmarshalJSON reads text or a number.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil && n >= 0 {
		*d = Duration(n)
		return nil
	}
	var text string
	bad := fmt.Errorf(`%s is no duration: write "500ms", "5s", "1m30s"`, b)
	if json.Unmarshal(b, &text) != nil {
		return bad
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 || v > 24*time.Hour {
		return bad
	}
	*d = Duration(v)
	return nil
}
