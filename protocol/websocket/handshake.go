package websocket

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/gobwas/ws"
)

// Options of a listener's handshakes.
type Options struct {
	Compression bool // negotiate permessage-deflate
	MaxHeaders  int  // header lines, 0 = no limit; more is 431
}

// Field is one header line of a response.
type Field struct{ Name, Value string }

// Answer is what the owner decides about a Request. The zero value accepts.
type Answer struct {
	Deferred bool // not known yet: Upgrade writes nothing and returns ErrDeferred

	Status int    // 0 accepts; 300 to 599 refuses
	Cause  string // of a refusal, for the HandshakeError; default "refused"
	Body   string // of a refusal, plain text unless Header says otherwise; default the status in words

	Subprotocol string  // one of those offered, "" for none
	Header      []Field // more header lines, in this order; not those that make the handshake or frame the body
}

// Result is what was agreed.
type Result struct {
	Deflate     bool   // pass it to Decoder.Next; AppendCompressed may be used
	ServerBits  uint8  // for AppendCompressed, 8 to 15; 0 without Deflate
	Subprotocol string // "" for none
}

// Upgrade answers an opening handshake. block is the request's whole header,
// the empty line included and nothing after it. decide is called at most once,
// when everything but its answer is right. The response is appended to dst:
//
//   - err is nil: it is the 101 and the connection speaks WebSocket;
//   - err is ErrDeferred: there is none, as decide said so. Keep a copy of
//     block and call again with a decide that knows;
//   - err is a *HandshakeError: it is a complete refusal.
//
// block is not changed and not kept.
func Upgrade(dst, block []byte, o Options, decide func(*Request) Answer) (response []byte, res Result, err error) {
	h := handshakes.Get().(*handshake)
	response, res, err = h.run(dst, block, o, decide)
	*h = handshake{upgrader: h.upgrader, scratch: h.scratch[:0]} // keep nothing of the caller's
	handshakes.Put(h)
	return response, res, err
}

// handshake is the state of one call to Upgrade. To gobwas/ws's upgrader it is
// the connection, and the writer of the response's additional lines.
type handshake struct {
	upgrader ws.Upgrader

	in     []byte // what the upgrader has not read yet
	out    []byte
	req    Request
	decide func(*Request) Answer
	answer Answer
	offer  deflateOffer
	res    Result

	scratch []byte // for WriteTo; as long as a response's additional lines
}

var handshakes = sync.Pool{New: func() any {
	h := new(handshake)
	h.upgrader.OnBeforeUpgrade = h.beforeUpgrade
	return h
}}

func (h *handshake) run(dst, block []byte, o Options, decide func(*Request) Answer) ([]byte, Result, error) {
	h.out, h.decide = dst, decide
	err := h.req.parse(block, o.MaxHeaders)
	if err == nil {
		err = h.negotiate(o)
	}
	if err == nil {
		h.in = h.input(block)
		h.upgrader.ReadBufferSize = len(h.in)
		_, err = h.upgrader.Upgrade(h)
	}
	switch err {
	case nil:
		return h.out, h.res, nil
	case ErrDeferred:
		return dst, Result{}, err
	}
	refused := refusal(err)
	// The upgrader's own response, if any, is behind dst and is overwritten.
	return refused.appendResponse(dst, h.answer.Header, h.answer.Body), Result{}, refused
}

// negotiate checks what concerns subprotocols and extensions.
func (h *handshake) negotiate(o Options) error {
	if h.req.protocols && !h.req.distinctProtocols() {
		return errProtocols
	}
	if !h.req.extensions {
		return nil
	}
	offer, ok := h.req.negotiate()
	if !ok {
		return errExtensions
	}
	h.offer = offer
	if o.Compression && !offer.declined {
		h.res = Result{Deflate: true, ServerBits: 15}
		if offer.serverBits > 0 {
			h.res.ServerBits = offer.serverBits
		}
	}
	return nil
}

// input returns what the upgrader is to read: block, except that a Connection
// header in several lines, which is one list by RFC 9110, is reduced to those
// that name Upgrade, as the upgrader wants it in each.
func (h *handshake) input(block []byte) []byte {
	if h.req.connections < 2 {
		return block
	}
	in := append([]byte(nil), block[:len(block)-len(h.req.fields)]...)
	for name, value := range h.req.Headers() {
		if equalFold(name, "connection") && !hasElement(value, "upgrade") {
			continue
		}
		in = append(append(append(append(in, name...), ": "...), value...), "\r\n"...)
	}
	return append(in, "\r\n"...)
}

// beforeUpgrade is called by the upgrader when it would accept.
func (h *handshake) beforeUpgrade() (ws.HandshakeHeader, error) {
	var key [18]byte // room for what 24 characters can stand for
	if n, err := base64.StdEncoding.Decode(key[:], h.req.key); err != nil || n != 16 {
		return nil, errKey
	}
	a := h.decide(&h.req)
	if a.Deferred {
		return nil, ErrDeferred
	}
	if err := a.check(&h.req); err != nil {
		return nil, err
	}
	h.answer = a
	if a.Status != 0 {
		return nil, a.refusal()
	}
	h.res.Subprotocol = a.Subprotocol
	return h, nil
}

// Read gives the upgrader the request.
func (h *handshake) Read(p []byte) (int, error) {
	if len(h.in) == 0 {
		return 0, io.ErrUnexpectedEOF // parse saw the end of the header: not reached
	}
	n := copy(p, h.in)
	h.in = h.in[n:]
	return n, nil
}

// Write takes the response from the upgrader.
func (h *handshake) Write(p []byte) (int, error) {
	h.out = append(h.out, p...)
	return len(p), nil
}

// WriteTo writes the additional lines of a 101.
func (h *handshake) WriteTo(w io.Writer) (int64, error) {
	b := h.scratch[:0]
	if p := h.res.Subprotocol; p != "" {
		b = append(append(append(b, "Sec-WebSocket-Protocol: "...), p...), "\r\n"...)
	}
	if h.res.Deflate {
		b = h.offer.appendAnswer(b)
	}
	b = appendFields(b, h.answer.Header)
	h.scratch = b
	n, err := w.Write(b)
	return int64(n), err
}

// distinctProtocols reports whether no subprotocol is offered twice, which a
// client must not.
func (r *Request) distinctProtocols() bool {
	const most = 32 // as the check is quadratic; who offers more is refused
	var seen [most][]byte
	n := 0
	for p := range r.Protocols() {
		if n == most {
			return false
		}
		for _, q := range seen[:n] {
			if string(p) == string(q) {
				return false
			}
		}
		seen[n] = p
		n++
	}
	return true
}

// check finds what would make the response invalid. The client gets a 500 for
// it, the log the reason.
func (a *Answer) check(r *Request) error {
	wrong := ""
	switch {
	case a.Status != 0 && (a.Status < 300 || a.Status > 599):
		wrong = fmt.Sprintf("the handler refused with status %d; use 300 to 599", a.Status)
	case a.Subprotocol != "" && !r.Offers(a.Subprotocol):
		wrong = fmt.Sprintf("the handler chose subprotocol %q, which the client does not offer", a.Subprotocol)
	}
	for _, f := range a.Header {
		if !isToken(f.Name) || !all(f.Value, charValue) || reserved(f.Name) {
			wrong = fmt.Sprintf("the handler set header %q, which is reserved or holds characters that a header must not", f.Name)
		}
	}
	if wrong == "" {
		return nil
	}
	return &HandshakeError{http.StatusInternalServerError, "answer", wrong}
}

// refusal is the error of an Answer that refuses.
func (a *Answer) refusal() *HandshakeError {
	e := &HandshakeError{Status: a.Status, Cause: a.Cause, Detail: http.StatusText(a.Status)}
	if e.Cause == "" {
		e.Cause = "refused"
	}
	return e
}

// reserved reports whether a header line belongs to Upgrade.
func reserved(name string) bool {
	switch name = strings.ToLower(name); name {
	case "connection", "upgrade", "content-length", "transfer-encoding":
		return true
	}
	return strings.HasPrefix(name, "sec-websocket-")
}

func hasField(fields []Field, lower string) bool {
	for _, f := range fields {
		if equalFold(f.Name, lower) {
			return true
		}
	}
	return false
}

func appendFields(dst []byte, fields []Field) []byte {
	for _, f := range fields {
		dst = append(append(append(append(dst, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	return dst
}
