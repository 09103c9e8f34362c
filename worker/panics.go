package worker

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// A panic is counted, and logged with its stack. One that comes again and again, as
// that of a callback for each message, is so logged once, and then told of as a number
// once a second, for as long as it goes on.

// culprit is where a panic came from: the innermost calls.
type culprit [16]uintptr

// repeats are the panics of one culprit that are not told of yet.
type repeats struct {
	callback, panic string
	more            int
}

// maxCulprits is how many are told apart in a second; what is beyond counts as one.
const maxCulprits = 64

// panicked tells of a panic, to be called by what has recovered from it, and closes the
// connection that it happened to. Its timers end now: the client may take long to answer.
func (l *loop) panicked(callback string, c *Conn, r any, stack []byte) {
	l.panics.Add(1)
	l.logPanic(callback, c, fmt.Sprint(r), callers(), stack)
	if c != nil && !c.has(flagMoving) {
		l.closeConn(c, 1011, internalError, ErrPanic)
		l.stopTimers(c)
	}
}

// panickedAside is panicked for other goroutines than the loop's, of which no connection is.
func (l *loop) panickedAside(what string, r any) {
	l.panics.Add(1)
	text, at, stack := fmt.Sprint(r), callers(), debug.Stack()
	if l.reactor.Post(func() { l.logPanic(what, nil, text, at, stack) }, 0) != nil { // the worker has ended
		l.log.Error("callback panicked", "callback", what, "panic", text, "stack", string(stack))
	}
}

// callers is the culprit, for what its caller has recovered from.
func callers() (at culprit) {
	runtime.Callers(4, at[:])
	return at
}

// internalError is all that clients are told of a panic.
const internalError = "internal error"

func (l *loop) logPanic(callback string, c *Conn, text string, at culprit, stack []byte) {
	known := l.counts.culprits
	if known[at] == nil && len(known) >= maxCulprits {
		at = culprit{}
	}
	if p := known[at]; p != nil {
		p.more++
		return
	}
	attrs := []any{"callback", callback, "panic", text, "stack", string(stack)}
	if c != nil {
		attrs = append(attrs, "connection", c.ID())
	}
	l.log.Error("callback panicked", attrs...)
	known[at] = &repeats{callback: callback, panic: text}
	l.beatAgain()
}

// tellPanics tells, once a second, what has come again; a culprit of which nothing has
// is forgotten.
func (l *loop) tellPanics() {
	for at, p := range l.counts.culprits {
		if p.more == 0 {
			delete(l.counts.culprits, at)
			continue
		}
		l.log.Error("callback panicked again", "callback", p.callback, "panic", p.panic, "more", p.more)
		p.more = 0
	}
}
