package master

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/master/logwriter"
)

// logOutput is where the master's lines and its children's stdout and stderr
// go: a file that can be reopened, or what the master was started with.
type logOutput struct {
	mu   sync.Mutex
	path string
	file *os.File // nil = stderr, or stdout as PID 1 of a container

	handler atomic.Pointer[slog.Handler]
	lines   *logwriter.Writer
}

func newLogOutput() *logOutput {
	l := &logOutput{}
	l.lines = logwriter.New(l.current)
	return l
}

// current returns where a line goes now.
func (l *logOutput) current() *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return l.file
	}
	return standard()
}

// flushWait bounds how long a master that ends or replaces its code waits for
// its last lines to be read.
const flushWait = 200 * time.Millisecond

// openLog opens path for appending. "" is the master's own stderr.
func openLog(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open log file: %w", err)
	}
	return f, nil
}

// swap makes f the output and closes the previous file.
func (l *logOutput) swap(path string, f *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
	l.path, l.file = path, f
}

// name returns the path of the file, "" = none.
func (l *logOutput) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.path
}

// files returns what a child gets as stdout and stderr.
func (l *logOutput) files() (stdout, stderr *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return l.file, l.file
	}
	return os.Stdout, standard()
}

// standard is the output of a master without a log file.
func standard() *os.File {
	if os.Getpid() == 1 {
		return os.Stdout
	}
	return os.Stderr
}

// Write implements io.Writer for the master's logger, by any goroutine. It
// waits for no reader.
func (l *logOutput) Write(line []byte) (int, error) { return l.lines.Write(line) }

// format sets level and format of the lines to come, as the plan asks for.
func (l *logOutput) format(p *Plan) {
	var level slog.Level // info
	_ = level.UnmarshalText([]byte(p.LogLevel))
	h := NewLogHandler(l, level, p.LogFormat)
	l.handler.Store(&h)
}

// NewLogHandler returns what writes the lines of a process's log, as log_level and
// log_format of the config ask for.
func NewLogHandler(w io.Writer, level slog.Level, format string) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: asText})
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
}

// asText makes of errors, durations and whatever has words of its own the text that they
// are in a log of text, so that a field is of one type in all lines of JSON.
func asText(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case time.Duration:
		a.Value = slog.StringValue(v.String())
	case error: // one with a JSON of its own, too
		a.Value = slog.StringValue(fmt.Sprint(v))
	case time.Time, encoding.TextMarshaler:
	case fmt.Stringer:
		a.Value = slog.StringValue(fmt.Sprint(v))
	}
	return a
}

// newLogger returns the master's logger. It and those made of it follow format.
func newLogger(out *logOutput, p *Plan) *slog.Logger {
	out.format(p)
	return slog.New(renewable{out: out}).With("process", "master")
}

// renewable is a handler that looks up with each line what writes it: a reload
// changes that, and the loggers of processes that are kept stay.
type renewable struct {
	out  *logOutput
	with []func(slog.Handler) slog.Handler // in order
}

func (r renewable) current() slog.Handler {
	h := *r.out.handler.Load()
	for _, f := range r.with {
		h = f(h)
	}
	return h
}

func (r renewable) and(f func(slog.Handler) slog.Handler) slog.Handler {
	r.with = append(slices.Clip(r.with), f)
	return r
}

// Enabled implements slog.Handler.
func (r renewable) Enabled(ctx context.Context, l slog.Level) bool {
	return (*r.out.handler.Load()).Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (r renewable) Handle(ctx context.Context, rec slog.Record) error {
	return r.current().Handle(ctx, rec)
}

// WithAttrs implements slog.Handler.
func (r renewable) WithAttrs(attrs []slog.Attr) slog.Handler {
	return r.and(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (r renewable) WithGroup(name string) slog.Handler {
	return r.and(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}
