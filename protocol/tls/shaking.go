package tls

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net"
	"time"
)

// shaking is a handshake under way, and the connection that crypto/tls sees. It
// gives out one record at a time, so that crypto/tls holds no byte beyond the
// handshake, and takes along what crypto/tls will not tell when it is over: the
// secrets, and how many records were sent under the last of them.
type shaking struct {
	wire   Wire
	record []byte // what is left of the record at hand

	client []byte // secret of TLS 1.3, of what the client sends
	server []byte // and of what we send
	master []byte // of TLS 1.2
	random [2][]byte
	index  int   // of the suite, as ServerHello has it; -1: none of ours
	sent   *half // our direction, as far as it has come; nil: no record under its secret yet
	failed error // it cannot be gone on with
}

var errCut = errors.New("crypto/tls has sent half a record")

// Read hands out one record at most.
func (h *shaking) Read(p []byte) (int, error) {
	if len(h.record) == 0 {
		rec, err := h.wire.Record()
		if err != nil {
			return 0, err
		}
		h.record = rec
	}
	n := copy(p, h.record)
	h.record = h.record[n:]
	return n, nil
}

// Write takes records for the client.
func (h *shaking) Write(p []byte) (int, error) {
	h.observe(p)
	if err := h.wire.Send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// observe looks at records on their way out. The first has the server's random
// and the suite. Session tickets are sent before the handshake is over, under the
// last keys; a record is one of those if it opens with them.
func (h *shaking) observe(p []byte) {
	for len(p) > 0 {
		n := Need(p)
		if n == 0 || n > len(p) {
			h.failed = errCut
			return
		}
		rec := p[:n]
		p = p[n:]
		switch {
		case rec[0] == typeHandshake:
			h.hello(rec[HeaderLen:])
		case rec[0] == typeData && h.server != nil && h.index >= 0:
			h.count(rec)
		}
	}
}

// hello reads a ServerHello in the clear, if that is what it is.
func (h *shaking) hello(m []byte) {
	const randomAt, sessionAt = 6, 38
	if len(m) <= sessionAt || m[0] != 2 {
		return
	}
	at := sessionAt + 1 + int(m[sessionAt])
	if len(m) < at+2 {
		return
	}
	h.random[1] = bytes.Clone(m[randomAt:sessionAt])
	h.index = indexOf(uint16(m[at])<<8 | uint16(m[at+1]))
}

func (h *shaking) count(rec []byte) {
	if h.sent == nil {
		h.sent = newSession(h.index).out()
		h.sent.adopt13(nil, h.server)
	}
	a := h.sent.keyed()
	h.sent.trial(&a, rec)
}

// session returns what goes on where crypto/tls has stopped.
func (h *shaking) session(id uint16) (*Session, error) {
	i := indexOf(id)
	switch {
	case h.failed != nil:
		return nil, h.failed
	case i < 0 || i != h.index || len(h.record) > 0:
		return nil, errCarryOn
	}
	s, k := newSession(i), &suites[i]
	switch {
	case k.tls12 && len(h.master) == 48 && len(h.random[0]) == 32:
		keys := k.prf(h.master, "key expansion", append(bytes.Clone(h.random[1]), h.random[0]...), 2*(k.keyLen+k.ivLen()))
		iv := keys[2*k.keyLen:]
		s.in.adopt12(keys[:k.keyLen], iv[:k.ivLen()])
		s.out().adopt12(keys[k.keyLen:2*k.keyLen], iv[k.ivLen():])
		clear(keys)
	case !k.tls12 && len(h.client) == k.hashLen && len(h.server) == k.hashLen:
		s.in.adopt13(nil, h.client)
		s.out().adopt13(nil, h.server)
		if h.sent != nil {
			s.out().seq = h.sent.seq
		}
	default:
		return nil, errCarryOn
	}
	return s, nil
}

func (h *shaking) wipe() {
	for _, b := range [][]byte{h.client, h.server, h.master} {
		clear(b)
	}
	if h.sent != nil {
		clear(h.sent.material())
	}
}

// keyLog takes the lines of crypto/tls's key log, which would be "LABEL RANDOM
// SECRET" in a file, and wipes them.
type keyLog shaking

func (h *keyLog) Write(line []byte) (int, error) {
	defer clear(line)
	f := bytes.Fields(line)
	if len(f) != 3 {
		return 0, errCarryOn
	}
	var into *[]byte
	switch string(f[0]) {
	case "CLIENT_TRAFFIC_SECRET_0":
		into = &h.client
	case "SERVER_TRAFFIC_SECRET_0":
		into = &h.server
	case "CLIENT_RANDOM":
		into = &h.master
	default:
		return len(line), nil // of the handshake itself
	}
	random, err := hex.AppendDecode(nil, f[1])
	if err != nil {
		return 0, err
	}
	secret, err := hex.AppendDecode(nil, f[2])
	if err != nil {
		return 0, err
	}
	h.random[0], *into = random, secret
	return len(line), nil
}

// The rest of net.Conn. Time limits are those of whoever has the Wire.

type nowhere struct{}

func (nowhere) Network() string { return "tls" }
func (nowhere) String() string  { return "tls" }

func (h *shaking) Close() error                     { return nil }
func (h *shaking) LocalAddr() net.Addr              { return nowhere{} }
func (h *shaking) RemoteAddr() net.Addr             { return nowhere{} }
func (h *shaking) SetDeadline(time.Time) error      { return nil }
func (h *shaking) SetReadDeadline(time.Time) error  { return nil }
func (h *shaking) SetWriteDeadline(time.Time) error { return nil }
