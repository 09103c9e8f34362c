package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxMessage is the longest datagram in bytes, well under the kernel's default
// socket buffer. Longer data is paged by the query that asks for it.
const MaxMessage = 128 << 10

// maxFiles is the kernel's limit of descriptors in one message (SCM_MAX_FD).
const maxFiles = 253

// ErrTooLong is returned by Send for a message over MaxMessage.
var ErrTooLong = errors.New("control message exceeds 128 KiB")

// ErrCut is returned by Receive, beside the message, when the process has no
// descriptors left for its files. The message is not lost, its files are; whoever
// has sent it has them still.
var ErrCut = errors.New("its files were cut off: this process is out of descriptors")

// Conn is one end of a control channel. Send may be called by any goroutine,
// Receive by one at a time.
type Conn struct {
	uc   *net.UnixConn
	send sync.Mutex
	buf  []byte // of Receive
	oob  []byte
}

// Pair returns a new channel: the parent's end, and the child's as a file to
// be inherited.
func Pair() (*Conn, *os.File, error) {
	parent, child, err := PairFiles()
	if err != nil {
		return nil, nil, err
	}
	c, err := Open(parent)
	if err != nil {
		child.Close()
		return nil, nil, err
	}
	return c, child, nil
}

// PairFiles returns a new channel whose ends go to two other processes, which
// Open them.
func PairFiles() (a, b *os.File, err error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, fmt.Errorf("create control socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// Open makes a Conn of a descriptor that Pair made, and closes f.
func Open(f *os.File) (*Conn, error) {
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("open control socket: descriptor %d is a %T", f.Fd(), nc)
	}
	return &Conn{uc: uc, buf: make([]byte, MaxMessage+1), oob: make([]byte, unix.CmsgSpace(4*maxFiles))}, nil
}

// Close closes this end; the other one reads io.EOF.
func (c *Conn) Close() error { return c.uc.Close() }

// SyscallConn gives access to the descriptor of this end.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.uc.SyscallConn() }

// SetWriteDeadline bounds the Sends that follow; a peer that does not read
// makes them fail with os.ErrDeadlineExceeded.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.uc.SetWriteDeadline(t) }

// SetReadDeadline bounds the Receives that follow.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.uc.SetReadDeadline(t) }

// Send sends a message of the given type; body is marshalled to JSON, nil means
// none. The files stay open here; the peer gets duplicates.
func (c *Conn) Send(typ string, id uint64, body any, files ...*os.File) error {
	m := Message{Type: typ, ID: id}
	if body != nil {
		raw, err := Marshal(body)
		if err != nil {
			return fmt.Errorf("encode control message %q: %w", typ, err)
		}
		m.Body = raw
	}
	return c.SendMessage(m, files...)
}

// SendMessage sends m as it is.
func (c *Conn) SendMessage(m Message, files ...*os.File) error {
	data, err := Marshal(m)
	if err != nil {
		return fmt.Errorf("encode control message %q: %w", m.Type, err)
	}
	if len(data) > MaxMessage {
		return fmt.Errorf("send control message %q of %d bytes: %w", m.Type, len(data), ErrTooLong)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			if fds[i], err = number(f); err != nil {
				return fmt.Errorf("send control message %q: %w", m.Type, err)
			}
		}
		oob = unix.UnixRights(fds...)
	}
	c.send.Lock()
	defer c.send.Unlock()
	if _, _, err := c.uc.WriteMsgUnix(data, oob, nil); err != nil {
		return fmt.Errorf("send control message %q: %w", m.Type, err)
	}
	return nil
}

// number returns f's descriptor without switching it to blocking mode, as
// File.Fd may: the flag is shared with every duplicate.
func number(f *os.File) (fd int, err error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	err = rc.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// Receive waits for the next message. The caller owns the files. An error
// that wraps io.EOF means that the peer is gone; an empty datagram reads the
// same. After any other error but a deadline's the peer's next message can still
// be received; with ErrCut comes the message without its files. Body is a copy
// and may be kept.
func (c *Conn) Receive() (Message, []*os.File, error) {
	n, oobn, flags, _, err := c.uc.ReadMsgUnix(c.buf, c.oob)
	files, oobErr := parseFiles(c.oob[:max(oobn, 0)])
	m, err := parseMessage(c.buf[:max(n, 0)], flags, errors.Join(err, oobErr))
	if err == nil {
		return m, files, nil
	}
	for _, f := range files {
		f.Close()
	}
	if errors.Is(err, ErrCut) {
		return m, nil, fmt.Errorf("receive control message %q: %w (limit %d)", m.Type, err, openLimit())
	}
	return Message{}, nil, fmt.Errorf("receive control message: %w", err)
}

func parseMessage(data []byte, flags int, err error) (m Message, _ error) {
	switch {
	case err != nil:
		return m, err
	case flags&unix.MSG_TRUNC != 0:
		return m, errors.New("message was cut off")
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return m, ErrCut
	}
	return m, nil
}

// openLimit is how many descriptors the process may have.
func openLimit() uint64 {
	var l unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Cur
}

// parseFiles takes the descriptors out of a datagram's control data. Those it
// returns with an error are open too.
func parseFiles(oob []byte) (files []*os.File, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	for i := range msgs {
		fds, notRights := unix.ParseUnixRights(&msgs[i])
		err = errors.Join(err, notRights)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, err
}
