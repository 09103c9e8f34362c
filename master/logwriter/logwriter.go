// Package logwriter keeps whoever logs from waiting for whoever reads the log.
package logwriter

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
)

// maxWaiting bounds the bytes of lines that wait for a reader.
const maxWaiting = 256 << 10

// Writer writes lines to a file. A regular file takes them at once. A pipe, a
// terminal or a socket may have a reader that stands still: there a goroutine
// writes, lines wait for it, and those beyond 256 KiB are dropped, counted, and
// told of when it goes on. Any goroutine may use it.
type Writer struct {
	file func() *os.File // may be another one with each line

	mu      sync.Mutex
	lines   [][]byte
	waiting int // bytes in lines
	dropped int
	running bool          // the goroutine
	idle    chan struct{} // closed when it ends
}

// New makes a Writer to what file returns.
func New(file func() *os.File) *Writer { return &Writer{file: file} }

// Write takes one line. It never fails and never blocks.
func (w *Writer) Write(line []byte) (int, error) {
	f := w.file()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running && regular(f) {
		return f.Write(line)
	}
	if w.waiting+len(line) > maxWaiting {
		w.dropped++
		return len(line), nil
	}
	w.lines = append(w.lines, bytes.Clone(line))
	w.waiting += len(line)
	if !w.running {
		w.running, w.idle = true, make(chan struct{})
		go w.run()
	}
	return len(line), nil
}

// run writes until nothing waits.
func (w *Writer) run() {
	for {
		w.mu.Lock()
		if len(w.lines) == 0 {
			w.running, w.lines = false, nil
			close(w.idle)
			w.mu.Unlock()
			return
		}
		line := w.lines[0]
		w.mu.Unlock()
		_, _ = w.file().Write(line)
		w.mu.Lock()
		w.lines[0] = nil
		w.lines = w.lines[1:]
		w.waiting -= len(line)
		if n := w.dropped; n > 0 {
			w.dropped = 0
			w.lines = append(w.lines, lost(line, n))
			w.waiting += len(w.lines[len(w.lines)-1])
		}
		w.mu.Unlock()
	}
}

// lost is the line that tells how many were dropped, in the format of another.
func lost(like []byte, n int) []byte {
	now := time.Now().Format(time.RFC3339Nano)
	if bytes.HasPrefix(like, []byte("{")) {
		return fmt.Appendf(nil, `{"time":%q,"level":"WARN","msg":"log lines were dropped: nobody read them","lines":%d}`+"\n", now, n)
	}
	return fmt.Appendf(nil, "time=%s level=WARN msg=\"log lines were dropped: nobody read them\" lines=%d\n", now, n)
}

// Flush waits until all lines are written, for timeout at most. A process calls
// it before it ends.
func (w *Writer) Flush(timeout time.Duration) {
	w.mu.Lock()
	running, idle := w.running, w.idle
	w.mu.Unlock()
	if !running {
		return
	}
	select {
	case <-idle:
	case <-time.After(timeout):
	}
}

// regular reports whether a write to f waits for nobody.
func regular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}
