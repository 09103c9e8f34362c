package logwriter

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A reader that stands still holds nobody up; what is dropped is told.
func TestUnreadPipe(t *testing.T) {
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := New(func() *os.File { return out })
	const n, size = 2000, 1000
	for i := range n { // 2 MB: more than the pipe and the queue take
		if _, err := fmt.Fprintf(w, "%05d %s\n", i, strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	waiting := w.waiting
	w.mu.Unlock()
	if waiting > maxWaiting+size { // what tells of losses comes on top
		t.Fatalf("%d bytes wait", waiting)
	}
	got, told, last := 0, 0, -1
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if _, after, ok := strings.Cut(lines.Text(), "lines="); ok {
				var some int
				_, _ = fmt.Sscan(after, &some)
				told += some
				continue
			}
			var i int
			if _, err := fmt.Sscanf(lines.Text(), "%05d ", &i); err == nil && i > last {
				got, last = got+1, i
			}
		}
	}()
	w.Flush(time.Minute)
	out.Close()
	<-done
	if got == 0 || told == 0 || got+told != n {
		t.Errorf("%d lines in order and %d told of, of %d", got, told, n)
	}
}

// A file has each line when Write returns.
func TestFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := New(func() *os.File { return f })
	fmt.Fprintln(w, "a line")
	if b, err := os.ReadFile(f.Name()); err != nil || string(b) != "a line\n" || w.running {
		t.Fatalf("%q %v", b, err)
	}
}

// A pipe that is read never drops, however much goes through in all; and what is
// told of losses has the format of the log.
func TestReadPipe(t *testing.T) {
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := New(func() *os.File { return out })
	go func() {
		defer out.Close()
		for i := range 40 { // 1.6 MB, 40 KB at a time: each is read before the next
			for range 40 {
				fmt.Fprintf(w, `{"n":%d,"x":%q}`+"\n", i, strings.Repeat("x", 1000))
			}
			w.Flush(time.Minute)
		}
	}()
	n := 0
	for lines := bufio.NewScanner(r); lines.Scan(); n++ {
		if !strings.HasPrefix(lines.Text(), `{"n":`) {
			t.Fatalf("line %d: %.100s", n, lines.Text())
		}
	}
	if n != 1600 {
		t.Errorf("%d of 1600 lines", n)
	}
	if like := string(lost([]byte("{}\n"), 3)); !strings.HasPrefix(like, `{"time":"`) || !strings.HasSuffix(like, `"lines":3}`+"\n") {
		t.Errorf("in JSON: %s", like)
	}
}

// A log that becomes a file while lines wait for a pipe has them in order: what
// waits goes before what comes.
func TestPipeBecomesFile(t *testing.T) {
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer out.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var file atomic.Pointer[os.File]
	file.Store(out)
	w := New(file.Load)
	const n = 150 // of 1 KB: more than a pipe takes, fewer than may wait
	for i := range n {
		fmt.Fprintf(w, "%05d %s\n", i, strings.Repeat("x", 1000))
	}
	file.Store(f)
	fmt.Fprintf(w, "%05d\n", n)
	go func() { _, _ = io.Copy(io.Discard, r) }()
	w.Flush(time.Minute)
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for line := range strings.Lines(string(b)) {
		var i int
		if _, err := fmt.Sscanf(line, "%05d", &i); err != nil || i <= last {
			t.Fatalf("%.20q after line %d", line, last)
		}
		last = i
	}
	if last != n || strings.Count(string(b), "\n") < 2 {
		t.Errorf("%d lines, the last is %d", strings.Count(string(b), "\n"), last)
	}
}
