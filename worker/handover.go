package worker

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

	"github.com/pushd/pushd/worker/reactor"
)

// The hand-over: how live connections get from a worker process to the one that
// replaces it, over a stream socketpair that the master has made.
//
//	new → old  hello   the record version it reads
//	old → new  carry   what handlers leave to those of the new process, if anything
//	old → new  batch   vector, records, and their descriptors
//	new → old  ack     all are there and readable; it has not touched them
//	old → new  commit  old has closed its duplicates: they are new's now
//	new → old  landed  they are in its loop; old sends no further batch before
//	           …       more batches; the first is a small one, the canary
//	old → new  end
//	new → old  report  what became of them
//
// Up to the commit the old worker can take a batch back; it does so when the
// master tells it that the new one is dead. A new worker that sees the channel
// end before a commit closes what it was sent.

const (
	msgHello  = 'H'
	msgCarry  = 'Y'
	msgBatch  = 'B'
	msgAck    = 'A'
	msgCommit = 'C'
	msgLanded = 'L'
	msgEnd    = 'E'
	msgReport = 'R'
	msgError  = 'X' // either way: text; the hand-over has failed
)

const (
	batchConns    = 200               // of one batch, below the kernel's 253 descriptors a message
	batchBytes    = 4 << 20           // of one batch, unless a single connection has more: that goes alone
	canaryConns   = 8                 // of the first batch
	maxBatch      = 1 << 30           // of one batch that a reader accepts
	maxRecord     = maxBatch - 64<<20 // of one connection; beside it there is the vector
	maxWord       = 64 << 10          // of any other message
	pieceBytes    = 1 << 20           // of a message that are sent, or come, within handoverWait
	turnBytes     = 256 << 10         // of a batch for which the other process gets a further turn
	handoverTurns = 8                 // how often handoverTurn is waited for an answer of the other process
	handoverWait  = handoverTurns * handoverTurn
)

// Whether the other process is dead is for the watchdog to say, which knows busy
// from dead: then the channel ends, and so does the wait. A callback may stand for
// nearly the watchdog's time, 5 s by default, and the loop be none the worse; a
// wait that ends before that closes connections of a process that lives. So the
// wait is longer than that: it is for what no watchdog sees, a channel that nobody
// serves. It is shorter than the 10 s in which a reload that fails says so.

// handoverTurn is the unit of waiting: when the whole machine stands still, it
// costs one turn, not all of them, and nobody's connections.
const handoverTurn = time.Second

// turnsFor is how many turns the other process has to answer a message of so
// many bytes.
func turnsFor(bytes int) int { return handoverTurns + bytes/turnBytes }

// courier is one end of the channel.
type courier struct{ uc *net.UnixConn }

func newCourier(f *os.File) (*courier, error) {
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open hand-over channel: %w", err)
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("open hand-over channel: it is a %T", nc)
	}
	return &courier{uc}, nil
}

func (k *courier) close() { k.uc.Close() }

// parcel is one message.
type parcel struct {
	kind  byte
	body  []byte
	files []int // descriptors, the receiver's to close
}

func (p *parcel) drop() {
	for _, fd := range p.files {
		closeFD(fd)
	}
	p.files = nil
}

// send writes a message: kind, number of descriptors, length, body. The
// descriptors stay open here.
func (k *courier) send(kind byte, body []byte, fds []int) error {
	if len(body) > maxBatch {
		return fmt.Errorf("send %q to the other worker: %d bytes are more than it takes", kind, len(body))
	}
	if err := k.uc.SetWriteDeadline(time.Now().Add(handoverWait)); err != nil {
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
		if err = k.uc.SetWriteDeadline(time.Now().Add(handoverWait)); err == nil {
			_, err = k.uc.Write(body[:n])
		}
		body = body[n:]
	}
	if err != nil {
		return fmt.Errorf("send %q to the other worker: %w", kind, err)
	}
	return nil
}

// receive reads a message that begins within so many turns; 0 is for as long as
// it takes.
func (k *courier) receive(turns int) (p parcel, err error) {
	head, oob := make([]byte, 6), make([]byte, unix.CmsgSpace(4*batchConns))
	n, oobn, flags, err := k.begin(turns, head, oob)
	if err != nil {
		return p, fmt.Errorf("receive from the other worker: %w", err)
	}
	p.files, err = rights(oob[:oobn])
	if err == nil {
		_, err = io.ReadFull(k.uc, head[n:])
	}
	if err == nil {
		p.kind = head[0]
		p.body, err = k.body(p.kind, int(binary.BigEndian.Uint32(head[2:])))
	}
	if err == nil && (flags&unix.MSG_CTRUNC != 0 || len(p.files) != int(head[1])) {
		err = fmt.Errorf("%d of %d descriptors arrived: out of descriptors (limit %d)", len(p.files), head[1], reactor.OpenFiles())
	}
	if err != nil {
		p.drop()
		return p, fmt.Errorf("receive from the other worker: %w", err)
	}
	return p, nil
}

// begin reads the beginning of a message. The rest of its head is due within
// handoverWait.
func (k *courier) begin(turns int, head, oob []byte) (n, oobn, flags int, err error) {
	if turns == 0 {
		if err := k.uc.SetReadDeadline(time.Time{}); err != nil {
			return 0, 0, 0, err
		}
	}
	for turn := 1; ; turn++ {
		if turns > 0 {
			if err := k.uc.SetReadDeadline(time.Now().Add(handoverTurn)); err != nil {
				return 0, 0, 0, err
			}
		}
		n, oobn, flags, _, err = k.uc.ReadMsgUnix(head, oob)
		if turn < turns && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err == nil {
			err = k.uc.SetReadDeadline(time.Now().Add(handoverWait))
		}
		return n, oobn, flags, err
	}
}

// body reads n bytes, allocating as they come.
func (k *courier) body(kind byte, n int) (b []byte, err error) {
	if n > maxWord && kind != msgBatch && kind != msgCarry || n > maxBatch {
		return nil, fmt.Errorf("message %q of %d bytes is too long", kind, n)
	}
	for len(b) < n && err == nil {
		have, piece := len(b), min(n-len(b), pieceBytes)
		b = slices.Grow(b, piece)[:have+piece]
		if err = k.uc.SetReadDeadline(time.Now().Add(handoverWait)); err == nil {
			_, err = io.ReadFull(k.uc, b[have:])
		}
	}
	return b, err
}

// expect receives a message of that kind, or the error that came instead. It
// answers one of so many bytes. What comes with descriptors is not expected.
func (k *courier) expect(kind byte, sent int) (parcel, error) {
	p, err := k.receive(turnsFor(sent))
	p.drop()
	switch {
	case err != nil:
		return p, err
	case p.kind == msgError:
		return p, fmt.Errorf("the other worker: %q", p.body)
	case p.kind != kind:
		return p, fmt.Errorf("the other worker sent %q instead of %q", p.kind, kind)
	}
	return p, nil
}

func closeFD(fd int) { _ = unix.Close(fd) }

// neverBlock makes reads and writes of fd return at once.
func neverBlock(fd int) error { return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)) }

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
