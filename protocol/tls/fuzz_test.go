package tls

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
)

// FuzzOpen: whatever comes, in pieces of whatever length, Open does not panic,
// nor read beyond the end, nor go on after it.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{23, 3, 3, 0, 20}, 3, uint8(0))
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40, 23, 3, 3, 0, 0}, 30, uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, cut int, suite uint8) {
		var r Ring
		s, cl := two(suites[int(suite)%len(suites)].id)
		w, err := cl.Seal(&r, nil, []byte("before"))
		check(t, err)
		if cut >= 0 && cut < len(w) {
			w = w[:cut]
		}
		w = append(w, b...)
		data, rest, err := s.Open(&r, w)
		if len(data)+len(rest) > len(w) || err != nil && rest != nil {
			t.Fatal(len(data), len(rest), err)
		}
		if err != nil {
			if data, _, err := s.Open(&r, append([]byte(nil), b...)); len(data) > 0 || err == nil && len(b) >= HeaderLen {
				t.Fatal("it went on")
			}
		}
	})
}

// FuzzRestore: what is taken is written the same way, and works.
func FuzzRestore(f *testing.F) {
	for _, k := range suites {
		s, _ := two(k.id)
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Restore(b)
		if err != nil {
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x\n%x", b, again)
		}
		var r Ring
		_, _ = s.Seal(&r, nil, []byte("x"))
		_, _, _ = s.Open(&r, []byte{23, 3, 3, 0, 20})
	})
}

// FuzzAgainstCryptoTLS plays a conversation, in both roles: each byte of the
// script is a step of one side, a move of ours, or damage to a record. What ours
// takes, and what it ends with, is what crypto/tls would.
func FuzzAgainstCryptoTLS(f *testing.F) {
	f.Add([]byte("\x00\x11\x22\x33\x44\x05\x16"), uint8(0))
	f.Add([]byte("\x03\x03\x03\x01\x02\x00\x00\x06\x01"), uint8(1))
	f.Add([]byte("\x80\x41\x01\x21\x11\x07"), uint8(2))
	f.Fuzz(func(t *testing.T, script []byte, kind uint8) {
		cc := &tls.Config{InsecureSkipVerify: true, SessionTicketsDisabled: kind&4 != 0}
		if kind&1 != 0 {
			cc.MaxVersion = tls.VersionTLS12
			cc.CipherSuites = []uint16{suites12()[int(kind>>4)%3*2]}
		}
		sc := serverConfig(t)
		var c *connection
		if kind&2 != 0 {
			sc.SessionTicketsDisabled = true
			c = asClient(t, sc, cc)
		} else {
			var err error
			c, err = shake(t, sc, cc)
			check(t, err)
		}
		c.play(t, script)
	})
}

func (c *connection) play(t *testing.T, script []byte) {
	s, r := c.res.Session, &Ring{}
	if len(script) > 200 {
		script = script[:200]
	}
	for _, b := range script {
		msg := bytes.Repeat([]byte{b}, 1+int(b)*int(b)/2)
		switch b % 6 {
		case 0, 1: // crypto/tls speaks, in records that come in pieces
			_, err := c.peer.Write(msg)
			check(t, err)
			var got []byte
			for len(got) < len(msg) {
				rec, err := c.ours.Record()
				check(t, err)
				at := int(b) % len(rec)
				_, rest, err := s.Open(r, bytes.Clone(rec[:at]))
				check(t, err)
				if b%6 == 1 {
					s = move(t, s, r)
				}
				data, rest, err := s.Open(r, append(bytes.Clone(rest), rec[at:]...))
				if err != nil || len(rest) > 0 {
					t.Fatal(err, len(rest))
				}
				got = append(got, data...)
			}
			if !bytes.Equal(got, msg) {
				t.Fatal("it heard something else")
			}
		case 2, 3: // ours does
			if b%6 == 3 {
				s.Rekey()
			}
			out, err := s.Seal(r, nil, msg)
			check(t, err)
			check(t, c.ours.Send(out))
			got := make([]byte, len(msg))
			if _, err := io.ReadFull(c.peer, got); err != nil || !bytes.Equal(got, msg) {
				t.Fatal(err)
			}
		case 4:
			s = move(t, s, r)
		case 5: // one bit of a record is turned over: the end of both
			out, err := s.Seal(r, nil, msg)
			check(t, err)
			mirror := bytes.Clone(out)
			at := HeaderLen + int(b)%(Need(out)-HeaderLen)
			out[at] ^= 0x10
			check(t, c.ours.Send(out))
			n, err := c.peer.Read(make([]byte, 1))
			if n != 0 || err == nil {
				t.Fatalf("crypto/tls read %d bytes of a damaged record, which was %x: %v", n, mirror[:HeaderLen], err)
			}
			return
		}
	}
}

// FuzzSameAsCryptoTLS: a client that breaks the protocol gets the same data, and
// the same alert, from Open as from a server of crypto/tls. The script is records,
// of two bytes each.
func FuzzSameAsCryptoTLS(f *testing.F) {
	f.Add([]byte{2, 90, 2, 41, 3, 90}, true)
	for i := range byte(10) {
		f.Add([]byte{0, 0, i, 0, 0, 1}, false)
		f.Add([]byte{0, 3, i, 90, i, 1}, true)
	}
	f.Fuzz(func(t *testing.T, script []byte, old bool) {
		sc := serverConfig(t)
		sc.SessionTicketsDisabled = true
		cc := &tls.Config{InsecureSkipVerify: true}
		if old {
			cc.MaxVersion = tls.VersionTLS12
		}
		c := asClient(t, sc, cc)
		cl, r := c.res.Session, &Ring{}
		ours := mirror(cl)
		var w []byte
		for ; len(script) >= 2 && len(w) < 200_000; script = script[2:] {
			w = append(w, broken(script[0], script[1], old)(r, cl)...)
		}
		check(t, c.ours.Send(w))
		data, _, err := ours.Open(r, w)
		theirs := make([]byte, len(data)+1)
		c.end.finish() // they see the end behind that
		n, errTheirs := io.ReadFull(c.peer, theirs)
		if !bytes.Equal(theirs[:n], data) {
			t.Fatalf("crypto/tls read %d bytes, ours %d (%v, %v)", n, len(data), errTheirs, err)
		}
		a, _ := err.(Alert)
		if ours := err != nil && err != io.EOF && !a.Remote; ours != c.alerted(r, a.Code) {
			t.Errorf("ours ends with %v, crypto/tls with %v", err, errTheirs)
		}
	})
}

// alerted reports whether crypto/tls has sent an alert of that code, or none at
// all if it is 0.
func (c *connection) alerted(r *Ring, code uint8) bool {
	for {
		c.end.in.mu.Lock()
		left := len(c.end.in.b)
		c.end.in.mu.Unlock()
		if left == 0 {
			return false
		}
		rec, err := c.ours.Record()
		if err != nil {
			return false
		}
		if _, _, err := c.res.Session.Open(r, rec); err == (Alert{code, true}) {
			return true
		}
	}
}

// broken is a record that a client may make, rightly or not. Where this package
// differs on purpose is not among them: a change_cipher_spec after Finished, which
// crypto/tls drops, a record in the clear, a KeyUpdate of value 2 (it is right in
// these: RFC 8446, 5, 5.2, 4.6.3), a KeyUpdate in two records, and handshake
// messages of TLS 1.2.
func broken(kind, arg byte, old bool) maker {
	switch kind % 10 {
	case 0:
		return sealed(typeData, arg)
	case 1:
		return sealed(typeData, bytes.Repeat([]byte{arg}, int(arg)*64)...)
	case 2:
		return sealed(typeAlert, 1, arg)
	case 3:
		return sealed(typeAlert, 2, arg)
	case 4:
		return damaged(HeaderLen + int(arg)%16)
	case 5:
		return inClear(typeData, 3, 3, 0, arg, 1, 2)
	case 6:
		return inClear(23, arg, 3, 0, 0)
	case 7:
		return inClear(23, 3, 3, 0x49+arg%8, 0)
	}
	if old {
		return sealed(typeData)
	}
	switch kind % 10 {
	case 8:
		return rekeys(arg & 1)
	case 9:
		return inner(append([]byte{arg, typeData}, make([]byte, int(arg)*66)...)...)
	}
	return sealed(typeData)
}
