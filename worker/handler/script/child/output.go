package child

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	lineBytes = 4 << 10 // of one line; a longer one is several
	tailLines = 12      // kept for whoever asks why it ended
	tailBytes = 500     // of each

	// rest is how long what is printed without an end of its line waits for one.
	rest = time.Second
)

// output are the pipes of standard output and error.
type output struct {
	ours, theirs [2]*os.File
	readers      sync.WaitGroup
}

func (o *output) open(cmd *exec.Cmd) (err error) {
	for i := range o.ours {
		if o.ours[i], o.theirs[i], err = os.Pipe(); err != nil {
			return err
		}
	}
	cmd.Stdout, cmd.Stderr = o.theirs[0], o.theirs[1]
	return nil
}

func (o *output) close() {
	for _, f := range append(o.ours[:], o.theirs[:]...) {
		if f != nil {
			f.Close()
		}
	}
}

// read hands on the lines until the ends of the pipes; what has no end of its line, as
// a dot for each message, is one after a moment.
func (o *output) read(p *Process, line func(stream, line string)) {
	for i, stream := range []string{"stdout", "stderr"} {
		o.theirs[i].Close()
		o.readers.Add(1)
		go func() {
			defer o.readers.Done()
			r := bufio.NewReaderSize(o.ours[i], lineBytes)
			for {
				if _, err := r.Peek(1); err != nil {
					return
				}
				o.ours[i].SetReadDeadline(time.Now().Add(rest))
				piece, _, _ := r.ReadLine() // there is something, so it is no error
				o.ours[i].SetReadDeadline(time.Time{})
				if text := strings.ToValidUTF8(string(piece), "?"); text != "" {
					p.note(text)
					if line != nil {
						line(stream, text)
					}
				}
			}
		}()
	}
}

// wait waits for the ends, which somebody may hold open, for d at most.
func (o *output) wait(d time.Duration) {
	ended := make(chan struct{})
	go func() {
		o.readers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(d):
	}
	o.close()
}

func (p *Process) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(line) > tailBytes {
		line = line[:tailBytes] + "…"
	}
	if len(p.tail) == tailLines {
		p.tail = slices.Delete(p.tail, p.least(), p.least()+1)
	}
	p.tail = append(p.tail, words{time.Now(), line})
}

// words are a line and when it came.
type words struct {
	at   time.Time
	line string
}

// least is the line that is missed least: the outermost call of a stack, of which the
// first line says what has happened, else the oldest.
func (p *Process) least() int {
	for i := len(p.tail) - 1; i > 0; i-- {
		if frame.MatchString(p.tail[i].line) {
			return i
		}
	}
	return 0
}

// frame is a call of a stack, the innermost first, as PHP and JavaScript print it.
var frame = regexp.MustCompile(`^\s*#\d+ |^\s+at `)
