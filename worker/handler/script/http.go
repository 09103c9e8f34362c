package script

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/textproto"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

// shakeTimeout is a little more than a handshake may wait for its answer.
const shakeTimeout = 61 * time.Second

// maxHead bounds the head of an answer, and the body of a refusal, in bytes.
const maxHead = 64 << 10

// request is one that the program answers.
type request struct {
	w     *worker.Response
	head  []byte // of the answer, as far as it has come
	begun bool   // the head is there
	whole bool   // the answer is
}

var errHead = errors.New("it does not begin with the head of an HTTP/1.1 answer")

// respond adds bytes to an answer.
func (h *handler) respond(f wire.Frame) error {
	q := h.requests[f.Conn]
	if q == nil {
		return errNoAnswer
	}
	if err := q.add(f.Payload); err != nil {
		q.fail(nethttp.StatusBadGateway)
		return err
	}
	switch {
	case f.Flags&wire.More != 0:
		if q.begun {
			q.w.Flush()
		}
	case !q.begun:
		q.fail(nethttp.StatusBadGateway)
		return errHead
	default:
		q.whole = true
		q.w.End()
	}
	return nil
}

// add takes bytes of the answer: head first, then body.
func (q *request) add(p []byte) error {
	if q.begun {
		_, err := q.w.Write(p)
		return err
	}
	q.head = append(q.head, p...)
	end := bytes.Index(q.head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(q.head) > maxHead {
			return errHead
		}
		return nil
	}
	resp, err := nethttp.ReadResponse(bufio.NewReader(bytes.NewReader(q.head[:end+4])), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errHead, err)
	}
	resp.Body.Close()
	if resp.StatusCode < nethttp.StatusOK {
		return fmt.Errorf("an answer begins with a status of 200 or more, not %d: pushd sends 100 and 101 itself", resp.StatusCode)
	}
	for name, values := range resp.Header {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection", "Date":
		default:
			q.w.Header()[name] = values
		}
	}
	q.w.WriteHeader(resp.StatusCode)
	q.begun = true
	_, err = q.w.Write(q.head[end+4:])
	q.head = nil
	return err
}

// fail answers for the program.
func (q *request) fail(status int) {
	q.whole = true
	if q.begun { // its client is to see that it is not whole
		q.w.Conn().Close(1011, aRefusal)
		return
	}
	if status == nethttp.StatusServiceUnavailable {
		q.w.Header().Set("Retry-After", "1")
	}
	nethttp.Error(q.w, nethttp.StatusText(status), status)
	q.w.End()
}

// shake is a handshake that the program answers, and its head.
type shake struct {
	*worker.Handshake
	head []byte
	met  bool // it has become a connection
}

// accept answers a handshake.
func (h *handler) accept(f wire.Frame) error {
	hs := h.shakes[f.Conn]
	if hs == nil {
		h.lapse(f)
		return errNoAnswer
	}
	if f.Aux != nethttp.StatusSwitchingProtocols {
		delete(h.shakes, f.Conn)
		return hs.refuse(f)
	}
	lines := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimRight(f.Payload, "\r\n"), "\r\n\r\n"...))))
	header, err := lines.ReadMIMEHeader()
	if err != nil && len(f.Payload) > 0 {
		delete(h.shakes, f.Conn)
		hs.Refuse(nethttp.StatusBadGateway, "internal error")
		return err
	}
	for name, values := range header {
		for _, v := range values {
			if name == "Sec-Websocket-Protocol" {
				hs.Choose(v)
				continue
			}
			hs.SetHeader(name, v)
		}
	}
	hs.Accept() // which connects: OnConnect has the head
	delete(h.shakes, f.Conn)
	if !hs.met {
		h.lapse(f)
	}
	return nil
}

// refuse answers with no: with a text, or with an answer of HTTP/1.1.
func (s *shake) refuse(f wire.Frame) error {
	if f.Flags&wire.Whole == 0 {
		s.Refuse(int(f.Aux), reason(f.Payload))
		return nil
	}
	resp, err := nethttp.ReadResponse(bufio.NewReader(bytes.NewReader(f.Payload)), nil)
	if err != nil {
		s.Refuse(nethttp.StatusBadGateway, "internal error")
		return fmt.Errorf("%w: %w", errHead, err)
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if framing(name) {
			continue
		}
		for _, v := range values {
			s.SetHeader(name, v)
		}
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxHead)) // shorter than it says: what there is
	if len(body) == 0 {
		body = []byte(nethttp.StatusText(resp.StatusCode))
	}
	s.Refuse(resp.StatusCode, strings.TrimRight(string(body), "\r\n"))
	return nil
}

// framing reports whether a header of an answer to a handshake is pushd's to write.
func framing(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Date", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "Sec-Websocket-")
}

// lapse tells the program that the client it lets in has left meanwhile.
func (h *handler) lapse(f wire.Frame) {
	if f.Aux == nethttp.StatusSwitchingProtocols {
		h.next = wire.Frame{Op: wire.Close, Conn: f.Conn, Aux: 1006}.Append(h.next)
		h.kick()
	}
}
