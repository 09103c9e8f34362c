package tls

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unsafe"
)

// TestLayout: both kinds of Session have the size of a class of the heap, and a
// direction has room for what it keeps, beside the other one.
func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(shortSession{}); n != 80 {
		t.Errorf("a Session has %d bytes: 80 is a size class of the heap", n)
	}
	if n := unsafe.Sizeof(longSession{}); n != 112 {
		t.Errorf("one with long secrets has %d bytes: 112 is a size class of the heap", n)
	}
	for i, k := range suites {
		s := newSession(i)
		all := memory(s)
		s.in.seq, s.out().seq = 1, 2
		for j := range s.in.material() {
			s.in.material()[j] = 0xa3
		}
		for j := range s.out().material() {
			s.out().material()[j] = 0xa4
		}
		if k.material() > maxMaterial || bytes.Count(all, []byte{0xa3}) != k.material() || bytes.Count(all, []byte{0xa4}) != k.material() || s.in.seq != 1 || s.out().seq != 2 {
			t.Errorf("%s: %x", s, all)
		}
	}
}

// memory is all that a Session has in the heap.
func memory(s *Session) []byte {
	n := unsafe.Sizeof(shortSession{})
	if s.in.kind().material() > secretLen {
		n = unsafe.Sizeof(longSession{})
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(s)), n)
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	check(t, err)
	return b
}

// The simple 1-RTT handshake of RFC 8448, section 3, from its traffic secrets on.
func TestTraceOfRFC8448(t *testing.T) {
	client := unhex(t, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
	server := unhex(t, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
	fromClient := unhex(t, "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4")
	fromServer := unhex(t, "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d")
	byeClient := unhex(t, "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3")
	byeServer := unhex(t, "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9")
	var said []byte
	for i := range 50 {
		said = append(said, byte(i))
	}
	r, s := &Ring{}, newSession(indexOf(tls.TLS_AES_128_GCM_SHA256))
	s.in.adopt13(r, client)
	s.out().adopt13(r, server)
	s.out().seq = 1 // the ticket
	for h, want := range map[*half]string{
		s.out(): "9f02283b6c9c07efc26bb9f2ac92e356 cf782b88dd83549aadf1e984",
		&s.in:   "17422dda596ed5d9acd890e3c63f5051 5b78923dee08579033e523d9",
	} {
		if key, iv := h.keys(); fmt.Sprintf("%x %x", key, iv) != want {
			t.Errorf("key and IV are %x %x, in the trace %s", key, iv, want)
		}
	}
	data, rest, err := s.Open(r, fromClient)
	if err != nil || len(rest) != 0 || !bytes.Equal(data, said) {
		t.Fatalf("%x %x %v", data, rest, err)
	}
	out, err := s.Seal(r, nil, said)
	if err != nil || !bytes.Equal(out, fromServer) {
		t.Fatalf("%x %v", out, err)
	}
	if _, _, err = s.Open(r, byeClient); err != io.EOF {
		t.Errorf("close_notify: %v", err)
	}
	if out := s.Shut(r, nil, nil); !bytes.Equal(out, byeServer) {
		t.Errorf("close_notify: %x", out)
	}
}

// updates has cl seal a KeyUpdate.
func updates(r *Ring, cl *Session, dst []byte, request byte) []byte {
	dst = cl.out().seal(r, dst, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, request})
	cl.out().update(r)
	return dst
}

func TestKeyUpdate(t *testing.T) {
	for _, k := range suites[:3] {
		r := &Ring{}
		s, cl := two(k.id)
		w := updates(r, cl, nil, 0)
		w = updates(r, cl, w, 1)
		w, _ = cl.Seal(r, w, []byte("one"))
		w = updates(r, cl, w, 1)
		w, _ = cl.Seal(r, w, []byte("two"))
		data, rest, err := s.Open(r, w)
		if err != nil || len(rest) > 0 || string(data) != "onetwo" {
			t.Fatalf("%q %v", data, err)
		}
		s = move(t, s, r) // the answer that is owed moves along
		for i, say := range []string{"once", "however often it was asked for"} {
			before := bytes.Clone(cl.in.material())
			out, err := s.Seal(r, nil, []byte(say))
			check(t, err)
			data, _, err = cl.Open(r, out)
			if err != nil || string(data) != say || bytes.Equal(cl.in.material(), before) != (i > 0) {
				t.Fatalf("%q %v, another key: %v", data, err, !bytes.Equal(cl.in.material(), before))
			}
		}
	}
}

// TestAnswerAsksForNothing: a KeyUpdate that answers one must not ask for another
// (RFC 8446, 4.6.3), even if we were about to ask.
func TestAnswerAsksForNothing(t *testing.T) {
	for _, first := range []bool{true, false} {
		r := &Ring{}
		s, cl := two(tls.TLS_AES_128_GCM_SHA256)
		ask := func() {
			s.in.seq, cl.out().seq = askAfter, askAfter
			_, _, err := s.Open(r, cl.out().seal(r, nil, typeData, []byte("x")))
			check(t, err)
		}
		if first {
			ask()
		}
		_, _, err := s.Open(r, updates(r, cl, nil, 1))
		check(t, err)
		if !first {
			ask()
		}
		out, err := s.Seal(r, nil, []byte("y"))
		check(t, err)
		if _, _, err := cl.Open(r, out); err != nil || cl.out().flags&flagOwes != 0 {
			t.Errorf("asked before: %v; the answer asks, or %v", first, err)
		}
	}
}

// TestKeysAreUsedUp: ours is changed, the client is asked to change its own once
// a key, and TLS 1.2 ends with room for a goodbye.
func TestKeysAreUsedUp(t *testing.T) {
	r := &Ring{}
	s, cl := two(tls.TLS_AES_128_GCM_SHA256)
	s.out().seq, cl.in.seq = updateAfter, updateAfter
	s.in.seq, cl.out().seq = askAfter-1, askAfter-1
	for i := range 3 {
		w := cl.out().seal(r, nil, typeData, []byte("x"))
		_, _, err := s.Open(r, w)
		check(t, err)
		s = move(t, s, r)
		out, err := s.Seal(r, nil, []byte("y"))
		check(t, err)
		if _, _, err := cl.Open(r, out); err != nil {
			t.Fatal(err)
		}
		if asked := cl.out().flags&flagOwes != 0; asked != (i == 0) {
			t.Errorf("record %d: asked %v", i, asked)
		}
		cl.out().flags &^= flagOwes
	}
	if s.out().seq > 3 {
		t.Error("our key was not changed")
	}
	_, _, err := s.Open(r, updates(r, cl, nil, 0))
	if check(t, err); s.in.seq != 0 || s.in.flags&flagAsked != 0 {
		t.Error("the client's key was not changed")
	}

	s, _ = two(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	if s.Rekey(); s.out().flags != 0 {
		t.Error("TLS 1.2 has no KeyUpdate")
	}
	worn := s.out().kind().worn()
	if s.out().seq = worn - wornSoon - 1; s.Worn() {
		t.Error("too early")
	}
	s.out().seq++
	if _, err := s.Seal(r, nil, []byte("goodbye")); err != nil || !s.Worn() {
		t.Error(err, s.Worn())
	}
	s.out().seq = worn
	if _, err := s.Seal(r, nil, []byte("x")); !errors.Is(err, ErrWorn) || len(s.Shut(r, nil, nil)) == 0 {
		t.Error(err)
	}
}

// TestLastRecordOfAKey: a direction has 2^32 numbers under one key.
func TestLastRecordOfAKey(t *testing.T) {
	r := &Ring{}
	s, cl := two(tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
	if s.out().seq = 1 << 30; s.Worn() {
		t.Error("ChaCha20 is worn early")
	}
	if s.out().seq = s.out().kind().worn() - 1; !s.Worn() {
		t.Error("a key that has a record left is not worn")
	}
	s, cl = move(t, s, r), move(t, cl, r)
	cl.in.seq = s.out().seq
	long, err := s.Seal(r, nil, make([]byte, 64*MaxData)) // begun before the end
	check(t, err)
	if data, _, err := cl.Open(r, append(long, s.Shut(r, nil, nil)...)); len(data) != 64*MaxData || err != io.EOF {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := s.Seal(r, nil, []byte("x")); !errors.Is(err, ErrShut) {
		t.Error(err)
	}
	s, cl = two(tls.TLS_CHACHA20_POLY1305_SHA256)
	s.in.seq, cl.out().seq = 1<<32-2, 1<<32-2
	if _, _, err := s.Open(r, cl.out().seal(r, nil, typeData, []byte("x"))); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Open(r, inner('x', typeData)(r, cl)); err != (Alert{Code: alertUnexpected}) {
		t.Errorf("the last record: %v; what follows would be number 0", err)
	}
}

func TestShut(t *testing.T) {
	r := &Ring{}
	for _, id := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256} {
		for _, c := range []struct{ why, want error }{
			{nil, io.EOF}, {io.EOF, io.EOF}, {Alert{Code: alertBadRecordMAC}, Alert{alertBadRecordMAC, true}}, {Alert{40, true}, nil},
		} {
			s, cl := two(id)
			_, _, err := cl.Open(r, s.Shut(r, nil, c.why))
			if err != c.want {
				t.Errorf("%v: %v", c.why, err)
			}
			if _, err := s.Seal(r, nil, []byte("x")); !errors.Is(err, ErrShut) || len(s.Shut(r, nil, nil)) > 0 {
				t.Error("something follows the last record")
			}
		}
	}
}

// TestNoRenegotiationIsAWarning: RFC 5246, 7.2.2; what ends the connection is
// close_notify behind it.
func TestNoRenegotiationIsAWarning(t *testing.T) {
	r := &Ring{}
	s, cl := two(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	b := s.Shut(r, nil, Alert{Code: alertNoRenegotiation})
	for _, want := range [][]byte{{levelWarning, alertNoRenegotiation}, {levelWarning, alertCloseNotify}} {
		n := Need(b)
		typ, p, err := cl.in.open(r, r.of(&cl.in), b[:n])
		if b = b[n:]; err != nil || typ != typeAlert || !bytes.Equal(p, want) {
			t.Errorf("%d %v %v, want the alert %v", typ, p, err, want)
		}
	}
	if len(b) > 0 {
		t.Error("something follows")
	}
}

// TestLengths: the longest record, and what Seal says of how dst grows.
func TestLengths(t *testing.T) {
	for _, k := range suites {
		for _, n := range []int{0, 1, MaxData - 1, MaxData, MaxData + 1, 3 * MaxData} {
			r := &Ring{}
			s, cl := two(k.id)
			s.Rekey()
			out, err := s.Seal(r, nil, bytes.Repeat([]byte{'x'}, n))
			check(t, err)
			if most := n + MaxOverhead*max((n+MaxData-1)/MaxData, 1); len(out) > most {
				t.Errorf("%s: %d bytes of data became %d", s, n, len(out))
			}
			if data, _, err := cl.Open(r, out); err != nil || len(data) != n {
				t.Errorf("%s: %d bytes became %d: %v", s, n, len(data), err)
			}
		}
	}
}

func TestDropWipes(t *testing.T) {
	for _, k := range suites {
		r := &Ring{}
		s, _ := two(k.id)
		_, err := s.Seal(r, nil, []byte("x"))
		check(t, err)
		name, all := s.String(), memory(s)
		if s.Drop(r); !bytes.Equal(all, make([]byte, len(all))) || r.slots[0] != (slot{}) {
			t.Errorf("%s: something is left: %x", name, all)
		}
	}
}

func TestString(t *testing.T) {
	for id, want := range map[uint16]string{
		tls.TLS_AES_128_GCM_SHA256: "1.3 AES128", tls.TLS_AES_256_GCM_SHA384: "1.3 AES256",
		tls.TLS_CHACHA20_POLY1305_SHA256: "1.3 CHACHA20", tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "1.2 AES256",
	} {
		if s, _ := two(id); s.String() != want {
			t.Error(s)
		}
	}
}
