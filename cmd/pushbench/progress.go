package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/fleet"
)

// progress keeps one line of a terminal up to date; elsewhere it is silent.
type progress struct {
	out  io.Writer
	quit chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu    sync.Mutex
	phase string
}

func startProgress(out io.Writer, f *fleet.Fleet) *progress {
	p := &progress{out: out, quit: make(chan struct{}), phase: "starting"}
	if !terminal(out) {
		return p
	}
	p.done.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.line(f)
			case <-p.quit:
				_, _ = fmt.Fprint(p.out, "\r\x1b[K")
				return
			}
		}
	})
	return p
}

func (p *progress) line(f *fleet.Fleet) {
	p.mu.Lock()
	phase := p.phase
	p.mu.Unlock()
	c := f.Counters()
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s: %d open, %d failed, %d lost, %d sent, %d received",
		phase, c.Open(), c.Failed, c.Lost, c.Sent, c.Received)
}

// say names what the run is doing now.
func (p *progress) say(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
}

// stop clears the line; it may be called again.
func (p *progress) stop() {
	p.once.Do(func() { close(p.quit) })
	p.done.Wait()
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
