package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/script/child"
)

// proc is one process of the program.
type proc struct {
	*child.Process
	link    *worker.Link
	welcome wire.Welcome
	rest    []byte // what it has sent behind READY, until it is attached
	born    time.Time
	ready   time.Time // when it said so

	batches  int       // done
	messages int       // that it was sent
	most     int       // of them, before it is replaced; 0 = any number
	looked   time.Time // when its memory was looked at
	timers   map[uint64]*worker.Timer
	channels map[string]func()

	asked    bool   // its program wants another in its place, which is tried
	stopping bool   // has been sent STOP, or is to be replaced
	clean    bool   // it has left as it was told
	over     bool   // its end has been dealt with
	cut      bool   // the link has ended
	exited   bool   // the process has
	parted   bool   // it has said all, as it was told to go
	why      string // it was ended by us
	carry    []byte // of CARRY; nil = none
	poison   *poison
	last     func() // runs when the batch under way is done
	then     func() // runs at its end, in place of another process
}

// poison is whose callback a process dies of.
type poison struct {
	conn uint64 // 0: nobody's, as a timer's
	done int    // events of the batch before, without answers
}

// launch starts a process and waits until it is ready. It blocks, for Start at
// most. Any goroutine.
func (h *handler) launch(ctx context.Context, setup wire.Config) (*proc, error) {
	var lines lineLog
	lines.init(h)
	c, err := child.Start(child.Spec{
		Args: h.o.Script, Dir: h.o.Dir, Env: h.environment(setup), Memory: h.o.most(), Line: lines.line,
	})
	if err != nil {
		return nil, cannotStart(h.o.find(), err)
	}
	lines.pid.Store(int64(c.PID))
	defer context.AfterFunc(ctx, c.KillAll)()
	p := &proc{Process: c, born: time.Now(), timers: map[uint64]*worker.Timer{}, channels: map[string]func(){}}
	if err := p.greet(setup, time.Duration(h.o.Start)); err != nil {
		c.KillAll()
		<-c.Done()
		c.Close()
		return nil, h.failed(p, err)
	}
	p.ready = time.Now()
	return p, nil
}

// cannotStart prefers what find says: the kernel names the program, whatever is in
// the way.
func cannotStart(found, err error) error {
	if found != nil {
		return found
	}
	return err
}

// failed says why a process did not get ready.
func (h *handler) failed(p *proc, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the script was not ready in %s: its start, in PHP all up to the end of onWorkerStart, takes longer or waits (start = \"1m\" in [[worker]] gives it more); %s", time.Duration(h.o.Start), said(p.Words()))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errPipe):
		return fmt.Errorf("the script ended before it was ready: %s", p.Because())
	}
	return fmt.Errorf("the script was not ready: %w; %s", err, said(p.Words()))
}

func said(words []string) string {
	if len(words) == 0 {
		return "it has printed nothing"
	}
	return fmt.Sprintf("its last words: %q", words)
}

// greet says CONFIG and waits for READY.
func (p *proc) greet(setup wire.Config, patience time.Duration) error {
	raw, err := json.Marshal(setup)
	if err != nil {
		return err
	}
	if err := p.Socket.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := p.Socket.Write(wire.Frame{Op: wire.Setup, Payload: raw}.Append(nil)); err != nil {
		return brokenPipe(err)
	}
	r := wire.NewReader(p.Socket, wire.FromHandler)
	f, err := r.Next()
	switch {
	case err != nil:
		return brokenPipe(err)
	case f.Op != wire.Ready:
		return fmt.Errorf("its first frame is %s, not READY", f.Op)
	}
	if p.welcome, err = wire.ParseWelcome(f.Payload); err != nil {
		return err
	}
	p.rest = append([]byte(nil), r.Rest()...)
	return p.Socket.SetDeadline(time.Time{})
}

var errPipe = errors.New("the other end is closed")

// attach connects a process that is ready with the loop.
func (h *handler) attach(p *proc) error {
	if p.welcome.Title != "" {
		h.calls.Store(&p.welcome.Title)
	}
	link, err := h.w.Link(p.Socket, p.rest, func(b []byte) int { return h.take(p, b) }, func(error) { h.linkEnded(p) })
	if err != nil {
		p.KillAll()
		p.Close()
		return fmt.Errorf("connect the script: %w", err)
	}
	p.link, p.rest = link, nil
	p.most = h.most()
	go func() {
		<-p.Done()
		_ = h.w.Post(func() { h.processEnded(p) })
	}()
	return nil
}

// take works on the first frame of what a process has sent.
func (h *handler) take(p *proc, b []byte) int {
	f, size, err := wire.FromHandler.Next(b)
	switch {
	case err != nil:
		h.kill(p, "it sent what cannot be read: "+err.Error())
		return len(b)
	case size == 0 || size > len(b):
		return 0
	}
	h.obey(p, f)
	return size
}

// lineLog logs what a program prints.
type lineLog struct {
	h    *handler
	pid  atomic.Int64
	rate chan struct{}
}

// linesAtOnce is how many lines a second a program may print; others are left
// out of the log.
const linesAtOnce = 200

func (l *lineLog) init(h *handler) { l.h, l.rate = h, make(chan struct{}, linesAtOnce) }

func (l *lineLog) line(stream, text string) {
	select {
	case l.rate <- struct{}{}:
		time.AfterFunc(time.Second, func() { <-l.rate })
	default:
		return
	}
	if l.h.o.Output == rawOutput {
		fmt.Fprintln(os.Stderr, text)
		return
	}
	l.h.log.Info(text, "script", l.h.title(), "pid", l.pid.Load(), "stream", stream)
}

// title names the program in logs. Any goroutine may call it.
func (h *handler) title() string {
	if h.o.Title != "" {
		return h.o.Title
	}
	if calls := h.calls.Load(); calls != nil {
		return *calls
	}
	if len(h.o.Script) > 1 {
		return h.o.Script[1]
	}
	return h.o.Script[0]
}
