package master

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// logOutput is where the master's lines and its children's stdout and stderr
// go: a file that can be reopened, or what the master was started with.
type logOutput struct {
	mu   sync.Mutex
	path string
	file *os.File // nil = stderr, or stdout as PID 1 of a container
}

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

// Write implements io.Writer for the master's logger, by any goroutine.
func (l *logOutput) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return l.file.Write(line)
	}
	return standard().Write(line)
}

// newLogger returns the master's logger in the format that the plan asks for.
func newLogger(w io.Writer, p *Plan) *slog.Logger {
	var level slog.Level // info
	_ = level.UnmarshalText([]byte(p.LogLevel))
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if p.LogFormat == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	return slog.New(h).With("process", "master")
}
