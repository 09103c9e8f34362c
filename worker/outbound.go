package worker

import "strings"

// What a socket does not take is kept in a queue, as references to encoded
// frames: a frame that went to a thousand slow clients is in memory once.

// queue holds the unsent frames of one connection. A connection without any
// has no queue.
type queue struct {
	frames [][]byte // frames[0] is partly sent when off > 0
	off    int      // bytes of frames[0] already sent
	bytes  int      // unsent
	sealed []byte   // of TLS records that are partly sent; goes before the frames
	marks  []mark   // of frames, or none if all are zero
}

func (q *queue) len() int {
	if q == nil {
		return 0
	}
	return q.bytes
}

// cork collects what a callback sends to the very client that it was called
// for, so that the answers to a burst of messages leave in one write.
type cork struct {
	c    *Conn // nil: not collecting
	buf  []byte
	cuts []cut // of the frames in buf
}

// cut is where a frame ends, and what becomes of it if it has to wait.
type cut struct {
	end  int
	mark mark
}

const corkSize = 32 << 10 // bytes to collect at most

// hold starts collecting for c.
func (l *loop) holdFor(c *Conn) {
	if l.cork.c != c {
		l.uncork()
	}
	l.cork.c = c
}

// uncork sends what was collected.
func (l *loop) uncork() {
	k := &l.cork
	c, buf, cuts := k.c, k.buf, k.cuts
	k.c = nil
	if c == nil || len(buf) == 0 {
		return
	}
	k.buf, k.cuts = nil, nil // OnBufferFull may cork another one
	l.transmit(c, buf, cuts)
	if k.c == nil {
		k.buf, k.cuts = buf[:0], cuts[:0]
	}
}

// send encodes m for c and sends or queues it.
func (l *loop) send(c *Conn, m Message) (err error) {
	defer c.containProtocol(&err)
	return l.sendAs(c, len(m.Data), func(dst []byte) []byte { return c.transport.encode(c, dst, m) })
}

// sendAs sends or queues what encode makes of a message of n bytes.
func (l *loop) sendAs(c *Conn, n int, encode func(dst []byte) []byte) error {
	if err := l.room(c, n, mark{}); err != nil {
		return err
	}
	c.sentMessages(1)
	l.counts.messagesOut++
	l.emit(c, encode)
	if c.has(flagDead) {
		return ErrClosed
	}
	return nil
}

// emit appends one frame to the cork, or to scratch memory that is sent at once.
func (l *loop) emit(c *Conn, encode func(dst []byte) []byte) {
	k := &l.cork
	if c.transport.collect != nil {
		l.fan.scratch = encode(l.fan.scratch[:0])
		c.transport.collect(c, l.fan.scratch)
		return
	}
	if k.c == c {
		k.buf = encode(k.buf)
		k.cuts = append(k.cuts, cut{end: len(k.buf)})
		if len(k.buf) >= corkSize {
			l.uncork()
			l.holdFor(c)
		}
		return
	}
	scratch := encode(l.fan.scratch[:0])
	l.fan.scratch = scratch
	l.transmit(c, scratch, nil)
	if cap(scratch) > maxScratch {
		l.fan.scratch = nil
	}
}

// maxScratch is the largest encoding buffer that a process keeps.
const maxScratch = 256 << 10

// transmit writes buf, one frame or those that cuts tell apart, and queues copies
// of what the socket does not take.
func (l *loop) transmit(c *Conn, buf []byte, cuts []cut) {
	n := 0
	if c.out == nil {
		n = l.write(c, buf)
		if n == len(buf) || n < 0 {
			return
		}
	}
	if len(cuts) == 0 {
		cuts = []cut{{end: len(buf)}}
	}
	start := 0
	for _, cut := range cuts {
		if cut.end > n {
			frame := append([]byte(nil), buf[start:cut.end]...)
			l.enqueue(c, frame, max(n-start, 0), cut.mark)
		}
		start = cut.end
	}
	l.crowded(c)
}

// Pings of ours and answers to the client's: of each, only the newest waits (RFC
// 6455, 5.5.3), like the messages of a channel of SlowLatest. No channel's name
// begins so.
var (
	pingMark = mark{channel: "\x00ping", slow: SlowLatest}
	pongMark = mark{channel: "\x00pong", slow: SlowLatest}
)

// control reports whether the frame is no message.
func (m mark) control() bool { return strings.HasPrefix(m.channel, "\x00") }

// control sends a control frame. One that finds no room in the queue is not
// sent: the client does not read.
func (l *loop) control(c *Conn, frame []byte, m mark) {
	if l.cork.c == c {
		l.uncork()
	}
	l.supersede(c, m.channel)
	if n := len(frame); !l.fits(c, n) {
		if l.dropLoose(c, l.w.Limits.MaxQueue-n); !l.fits(c, n) {
			l.failSend("control")
			return
		}
	}
	if !c.has(flagDead) {
		l.share(c, frame, m)
	}
}

// share sends a frame that others are sent too. It is queued by reference and
// must never change; a small one goes out with what is corked for c.
func (l *loop) share(c *Conn, frame []byte, m mark) {
	if c.transport.collect != nil {
		c.transport.collect(c, frame)
		return
	}
	if k := &l.cork; k.c == c {
		if c.out == nil && !m.loose() && len(k.buf)+len(frame) <= corkSize {
			k.buf = append(k.buf, frame...)
			k.cuts = append(k.cuts, cut{len(k.buf), m})
			return
		}
		l.uncork() // what was sent before goes before
	}
	n := 0
	if c.out == nil {
		n = l.write(c, frame)
		if n == len(frame) || n < 0 {
			return
		}
	}
	l.enqueue(c, frame, n, m)
	l.crowded(c)
}

// waits reports whether something is to be sent.
func (q *queue) waits() bool { return q != nil && (len(q.sealed) > 0 || len(q.frames) > 0) }

// queue returns the connection's queue, made and waiting for room when there is none.
func (l *loop) queue(c *Conn) *queue {
	if c.out == nil {
		c.out = &queue{}
		l.awaitRoom(c)
	}
	return c.out
}

// write returns how many bytes are sent, or sealed for good, -1 when the socket is
// broken.
func (l *loop) write(c *Conn, b []byte) int {
	if c.session != nil {
		return l.writeSealed(c, b)
	}
	return l.put(c, b)
}

// put returns how many bytes the socket took, -1 when it is broken.
func (l *loop) put(c *Conn, b []byte) int {
	n, err := c.sock.Write(b)
	if err != nil {
		l.failSend("write")
		l.destroy(c, err)
		return -1
	}
	c.sent(n)
	return n
}

// awaitRoom asks for a call of drain when the socket takes bytes again.
func (l *loop) awaitRoom(c *Conn) {
	if err := l.reactor.AwaitWritable(c.sock); err != nil {
		l.destroy(c, err)
	}
}

// enqueue appends a frame of which off bytes are sent.
func (l *loop) enqueue(c *Conn, frame []byte, off int, m mark) {
	if q := l.queue(c); len(q.frames) == 0 {
		q.off = off
	}
	c.out.push(frame, m)
	c.out.bytes += len(frame) - off
	l.counts.queueBytes += int64(len(frame) - off)
}

// crowded runs OnBufferFull when the queue has grown past half of its limit.
func (l *loop) crowded(c *Conn) {
	limit := l.w.Limits.MaxQueue
	if limit > 0 && c.out.len() >= limit/2 && !c.has(flagFull) && c.has(flagConnected) {
		c.set(flagFull)
		c.route.bufferFull(c)
	}
}

// drain sends what the socket takes now. It runs when the socket has become
// writable.
func (l *loop) drain(c *Conn) {
	if len(l.recall.of) > 0 {
		l.askFor(c)
	}
	for q := c.out; q.waits(); {
		if len(q.sealed) > 0 {
			if !l.flush(c, q) {
				return
			}
			continue
		}
		n := l.write(c, q.frames[0][q.off:])
		if n < 0 {
			return
		}
		q.off += n
		q.bytes -= n
		l.counts.queueBytes -= int64(n)
		if q.off < len(q.frames[0]) {
			l.awaitRoom(c)
			return
		}
		q.pop()
	}
	l.drained(c)
}

// drained ends the queue.
func (l *loop) drained(c *Conn) {
	l.reactor.ForgetWritable(c.sock)
	c.out = nil
	if c.has(flagEnd) {
		l.finish(c)
		return
	}
	if c.more != nil && c.more.held != nil {
		c.more.held.drained()
	}
	if c.asks() {
		l.resume(c) // requests behind the one whose answer is out
	}
	if c.has(flagFull) {
		c.clear(flagFull)
		if c.open() {
			c.route.bufferDrain(c)
		}
	}
}

// abandon forgets everything unsent but the rest of a frame that is partly out,
// so that a close frame can follow it.
func (l *loop) abandon(c *Conn) {
	q := c.out
	if q == nil {
		return
	}
	keep := q.frames[:0]
	if q.off > 0 {
		keep = q.frames[:1]
	}
	for _, f := range q.frames[len(keep):] {
		q.bytes -= len(f)
		l.counts.queueBytes -= int64(len(f))
	}
	clear(q.frames[len(keep):])
	q.frames = keep
	q.marks = nil
	if !q.waits() {
		l.reactor.ForgetWritable(c.sock)
		c.out = nil
	}
}

func (l *loop) failSend(cause string) {
	l.counts.sendFailures++
	l.counts.failuresBy.add(cause)
}
