// Package handover is the channel of a hand-over: how live connections get from a worker process to the one that
// replaces it, over a stream socketpair that the master has made.
//
//	new → old  hello   the record version it reads
//	old → new  carry   what handlers leave to those of the new process, if anything
//	old → new  question  empty: that it passes on questions of the bus from now on;
//	                   new says the same when it waits for them. Later, ahead of a
//	                   batch or the end: one that old has answered, and new is to
//	old → new  batch   vector, records, and their descriptors
//	new → old  ack     all are there and readable; it has not touched them
//	old → new  commit  old has closed its duplicates: they are new's now; either
//	                   names the server of the bus that its sender hangs on
//	new → old  landed  they are in its loop; old sends no further batch before
//	           …       more batches; the first is a small one, the canary
//	old → new  end
//	new → old  report  what became of them
//
// Up to the commit the old worker can take a batch back; it does so when the
// master tells it that the new one is dead. A new worker that sees the channel
// end before a commit closes what it was sent.
package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What a message is, its Kind.
const (
	Hello    = 'H'
	Carry    = 'Y'
	Question = 'Q'
	Batch    = 'B'
	Ack      = 'A'
	Commit   = 'C'
	Landed   = 'L'
	End      = 'E'
	Report   = 'R'
	Error    = 'X' // either way: text; the hand-over has failed
)

// Bounds, in bytes where nothing else is said.
const (
	BatchConns  = 200               // of one batch, below the kernel's 253 descriptors a message
	BatchBytes  = 4 << 20           // of one batch, unless a single connection has more: that goes alone
	CanaryConns = 8                 // of the first batch
	MaxBatch    = 1 << 30           // of one batch that a reader accepts
	MaxRecord   = MaxBatch - 64<<20 // of one connection; beside it there is the vector
	maxWord     = 64 << 10          // of any other message
	pieceBytes  = 1 << 20           // of a message that are sent, or come, within wait
	turnBytes   = 256 << 10         // of a batch for which the other process gets a further turn
	Turns       = 8                 // how often Turn is waited for an answer of the other process
	wait        = Turns * Turn
)

// Whether the other process is dead is for the watchdog to say, which knows busy
// from dead: then the channel ends, and so does the wait. A callback may stand for
// nearly the watchdog's time, 5 s by default, and the loop be none the worse; a
// wait that ends before that closes connections of a process that lives. So the
// wait is longer than that: it is for what no watchdog sees, a channel that nobody
// serves. It is shorter than the 10 s in which a reload that fails says so.

// Turn is the unit of waiting: when the whole machine stands still, it
// costs one turn, not all of them, and nobody's connections.
const Turn = time.Second

// TurnsFor is how many turns the other process has to answer a message of so
// many bytes.
func TurnsFor(bytes int) int { return Turns + bytes/turnBytes }

// Courier is one end of the channel. One goroutine at a time may send, and one
// receive.
type Courier struct{ uc *net.UnixConn }

// New opens an end; f stays the caller's.
func New(f *os.File) (*Courier, error) {
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open hand-over channel: %w", err)
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("open hand-over channel: it is a %T", nc)
	}
	return &Courier{uc}, nil
}

// Close ends the channel, and what waits for it. Any goroutine.
func (k *Courier) Close() { k.uc.Close() }

// Parcel is one message.
type Parcel struct {
	Kind  byte
	Body  []byte
	Files []int // descriptors, the receiver's to close
}

// Drop closes the descriptors.
func (p *Parcel) Drop() {
	for _, fd := range p.Files {
		_ = unix.Close(fd)
	}
	p.Files = nil
}

// Send writes a message: kind, number of descriptors, length, body. The
// descriptors stay open here.
func (k *Courier) Send(kind byte, body []byte, fds []int) error {
	if len(body) > MaxBatch {
		return fmt.Errorf("send %q to the other worker: %d bytes are more than it takes", kind, len(body))
	}
	if err := k.uc.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte{kind, byte(len(fds))}, uint32(len(body)))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, _, err := k.uc.WriteMsgUnix(head, oob, nil)
	if err == nil && n < len(head) {
		_, err = k.uc.Write(head[n:])
	}
	for err == nil && len(body) > 0 {
		n := min(len(body), pieceBytes)
		if err = k.uc.SetWriteDeadline(time.Now().Add(wait)); err == nil {
			_, err = k.uc.Write(body[:n])
		}
		body = body[n:]
	}
	if err != nil {
		return fmt.Errorf("send %q to the other worker: %w", kind, err)
	}
	return nil
}

// Receive reads a message that begins within so many turns; 0 is for as long as
// it takes.
func (k *Courier) Receive(turns int) (p Parcel, err error) {
	head, oob := make([]byte, 6), make([]byte, unix.CmsgSpace(4*BatchConns))
	n, oobn, flags, err := k.begin(turns, head, oob)
	if err != nil {
		return p, fmt.Errorf("receive from the other worker: %w", err)
	}
	p.Files, err = rights(oob[:oobn])
	if err == nil {
		_, err = io.ReadFull(k.uc, head[n:])
	}
	if err == nil {
		p.Kind = head[0]
		p.Body, err = k.body(p.Kind, int(binary.BigEndian.Uint32(head[2:])))
	}
	if err == nil && (flags&unix.MSG_CTRUNC != 0 || len(p.Files) != int(head[1])) {
		err = fmt.Errorf("%d of %d descriptors arrived: out of descriptors (limit %d)", len(p.Files), head[1], limit())
	}
	if err != nil {
		p.Drop()
		return p, fmt.Errorf("receive from the other worker: %w", err)
	}
	return p, nil
}

// begin reads the beginning of a message. The rest of its head is due within
// wait.
func (k *Courier) begin(turns int, head, oob []byte) (n, oobn, flags int, err error) {
	if turns == 0 {
		if err := k.uc.SetReadDeadline(time.Time{}); err != nil {
			return 0, 0, 0, err
		}
	}
	for turn := 1; ; turn++ {
		if turns > 0 {
			if err := k.uc.SetReadDeadline(time.Now().Add(Turn)); err != nil {
				return 0, 0, 0, err
			}
		}
		n, oobn, flags, _, err = k.uc.ReadMsgUnix(head, oob)
		if turn < turns && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err == nil {
			err = k.uc.SetReadDeadline(time.Now().Add(wait))
		}
		return n, oobn, flags, err
	}
}

// body reads n bytes, allocating as they come.
func (k *Courier) body(kind byte, n int) (b []byte, err error) {
	if n > maxWord && kind != Batch && kind != Carry && kind != Question || n > MaxBatch {
		return nil, fmt.Errorf("message %q of %d bytes is too long", kind, n)
	}
	for len(b) < n && err == nil {
		have, piece := len(b), min(n-len(b), pieceBytes)
		b = slices.Grow(b, piece)[:have+piece]
		if err = k.uc.SetReadDeadline(time.Now().Add(wait)); err == nil {
			_, err = io.ReadFull(k.uc, b[have:])
		}
	}
	return b, err
}

// Expect receives a message of that kind, or the error that came instead. It
// answers one of so many bytes. What comes with descriptors is not expected.
func (k *Courier) Expect(kind byte, sent int) (Parcel, error) {
	p, err := k.Receive(TurnsFor(sent))
	p.Drop()
	switch {
	case err != nil:
		return p, err
	case p.Kind == Error:
		return p, fmt.Errorf("the other worker: %q", p.Body)
	case p.Kind != kind:
		return p, fmt.Errorf("the other worker sent %q instead of %q", p.Kind, kind)
	}
	return p, nil
}

func rights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, got...)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, nil
}

// limit returns how many descriptors the process may have.
func limit() uint64 {
	var l unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Cur
}
