package tls

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
)

// A record that a client makes.
type maker func(r *Ring, cl *Session) []byte

// sealed is a record with p.
func sealed(typ byte, p ...byte) maker {
	return func(r *Ring, cl *Session) []byte { return cl.out().seal(r, nil, typ, p) }
}

// inner is a record of TLS 1.3 whose plaintext, type and padding included, is p.
func inner(p ...byte) maker {
	return func(r *Ring, cl *Session) []byte {
		n := len(p) + tagLen
		rec := append([]byte{typeData, 3, 3, byte(n >> 8), byte(n)}, p...)
		a := r.of(cl.out())
		return a.Seal(rec[:HeaderLen], cl.out().nonce(&r.nonce, &a.iv), p, rec[:HeaderLen])
	}
}

// damaged is a good record with one bit turned over.
func damaged(at int) maker {
	return func(r *Ring, cl *Session) []byte {
		b := cl.out().seal(r, nil, typeData, []byte("data"))
		b[at] ^= 1
		return b
	}
}

func inClear(b ...byte) maker { return func(*Ring, *Session) []byte { return b } }

func many(n int, m maker) maker {
	return func(r *Ring, cl *Session) (all []byte) {
		for range n {
			all = append(all, m(r, cl)...)
		}
		return all
	}
}

func then(ms ...maker) maker {
	return func(r *Ring, cl *Session) (all []byte) {
		for _, m := range ms {
			all = append(all, m(r, cl)...)
		}
		return all
	}
}

func rekeys(request byte) maker {
	return func(r *Ring, cl *Session) []byte { return updates(r, cl, nil, request) }
}

var long = bytes.Repeat([]byte{'x'}, maxPlain+1)

// TestWhatIsRefused goes through RFC 8446, sections 4.6, 5 and 6, and RFC 5246, 6
// and 7.2.
func TestWhatIsRefused(t *testing.T) {
	refused := func(code uint8) error { return Alert{Code: code} }
	data := sealed(typeData, 'd')
	both := []struct {
		name string
		make maker
		data string
		err  error
	}{
		{"data", data, "d", nil},
		{"two records", many(2, data), "dd", nil},
		{"bad MAC", damaged(20), "", refused(alertBadRecordMAC)},
		{"a length that more has to come for", damaged(3), "", nil},
		{"bad version", damaged(2), "", refused(alertProtocolVersion)},
		{"SSL 3.0", inClear(23, 3, 0, 0, 1, 0), "", refused(alertProtocolVersion)},
		{"HTTP", inClear([]byte("GET / HTTP/1.1\r\n")...), "", refused(alertProtocolVersion)},
		{"too short for a MAC", inClear(23, 3, 3, 0, 3, 1, 2, 3), "", refused(alertBadRecordMAC)},
		{"empty", inClear(23, 3, 3, 0, 0), "", refused(alertBadRecordMAC)},
		{"oversized header", inClear(23, 3, 3, 0x41, 1), "", refused(alertRecordOverflow)},
		{"good data before bad", then(data, damaged(20)), "d", refused(alertBadRecordMAC)},
		{"empty data", sealed(typeData), "", nil},
		{"16 without data", many(16, sealed(typeData)), "", nil},
		{"17 without data", many(17, sealed(typeData)), "", refused(alertUnexpected)},
		{"16, data, 16", then(many(16, sealed(typeData)), data, many(16, sealed(typeData))), "d", nil},
		{"close_notify", then(sealed(typeAlert, 1, 0), data), "", io.EOF},
		{"16 without data, close_notify", then(many(16, sealed(typeData)), sealed(typeAlert, 1, 0)), "", io.EOF},
		{"16 without data, a fatal alert", then(many(16, sealed(typeData)), sealed(typeAlert, 2, 40)), "", Alert{40, true}},
		{"close_notify at level fatal", sealed(typeAlert, 2, 0), "", io.EOF},
		{"fatal alert", sealed(typeAlert, 2, 40), "", Alert{40, true}},
		{"short alert", sealed(typeAlert, 2), "", refused(alertDecode)},
		{"empty alert", sealed(typeAlert), "", refused(alertUnexpected)},
		{"two alerts in one record", sealed(typeAlert, 1, 0, 1, 0), "", refused(alertDecode)},
		{"user_canceled", then(sealed(typeAlert, 1, 90), data), "d", nil},
		{"17 user_canceled", many(17, sealed(typeAlert, 1, 90)), "", refused(alertUnexpected)},
		{"encrypted change_cipher_spec", sealed(typeChangeCipherSpec, 1), "", refused(alertUnexpected)},
		{"unknown type", sealed(99, 1), "", refused(alertUnexpected)},
		{"heartbeat", sealed(24, 1, 0, 0), "", refused(alertUnexpected)},
	}
	for _, id := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256} {
		for _, c := range both {
			r := &Ring{}
			s, cl := two(id)
			got, _, err := s.Open(r, c.make(r, cl))
			if err != c.err || string(got) != c.data {
				t.Errorf("%s, %s: %q %v, want %q %v", s, c.name, got, err, c.data, c.err)
			}
			if s.Ended() != (err != nil) {
				t.Errorf("%s, %s: ended %v", s, c.name, s.Ended())
			}
		}
	}
	for _, c := range []struct {
		name string
		make maker
		data string
		err  error
	}{
		{"plain alert", inClear(21, 3, 3, 0, 2, 2, 40), "", refused(alertUnexpected)},
		{"plain change_cipher_spec", inClear(20, 3, 3, 0, 1, 1), "", refused(alertUnexpected)},
		{"plain handshake", inClear(22, 3, 3, 0, 4, 1, 0, 0, 0), "", refused(alertUnexpected)},
		{"padding", inner('d', typeData, 0, 0, 0), "d", nil},
		{"padding as long as can be", inner(append([]byte{typeData}, make([]byte, maxPlain)...)...), "", nil},
		{"padding beyond that", inner(append([]byte{typeData}, make([]byte, maxPlain+1)...)...), "", refused(alertRecordOverflow)},
		{"only padding", inner(0, 0, 0), "", refused(alertUnexpected)},
		{"nothing inside", inner(), "", refused(alertUnexpected)},
		{"one byte too many inside", inner(append(append([]byte{}, long...), typeData)...), "", refused(alertRecordOverflow)},
		{"warning that is none in 1.3", sealed(typeAlert, 1, 100), "", Alert{100, true}},
		{"empty handshake", sealed(typeHandshake), "", refused(alertUnexpected)},
		{"NewSessionTicket", sealed(typeHandshake, 4, 0, 0, 0), "", refused(alertUnexpected)},
		{"ClientHello", sealed(typeHandshake, 1, 0, 0, 0), "", refused(alertUnexpected)},
		{"Finished", sealed(typeHandshake, 20, 0, 0, 0), "", refused(alertUnexpected)},
		{"late Certificate", sealed(typeHandshake, 11, 0, 0, 0), "", refused(alertUnexpected)},
		{"KeyUpdate", then(rekeys(0), data, rekeys(1), data), "dd", nil},
		{"KeyUpdate and the old key", sealed(typeHandshake, 24, 0, 0, 1, 0), "", nil},
		{"KeyUpdate and data under the old key", then(sealed(typeHandshake, 24, 0, 0, 1, 0), data), "", refused(alertBadRecordMAC)},
		{"17 KeyUpdates", many(17, rekeys(1)), "", refused(alertUnexpected)},
		{"two KeyUpdates in one record", sealed(typeHandshake, 24, 0, 0, 1, 0, 24, 0, 0, 1, 0), "", refused(alertUnexpected)},
		{"half a KeyUpdate", sealed(typeHandshake, 24, 0, 0, 1), "", refused(alertUnexpected)},
		{"empty KeyUpdate", sealed(typeHandshake, 24, 0, 0, 0), "", refused(alertDecode)},
		{"long KeyUpdate", sealed(typeHandshake, 24, 0, 0, 2, 0, 0), "", refused(alertDecode)},
		{"KeyUpdate 2", sealed(typeHandshake, 24, 0, 0, 1, 2), "", refused(alertIllegal)},
	} {
		r := &Ring{}
		s, cl := two(tls.TLS_AES_128_GCM_SHA256)
		got, _, err := s.Open(r, c.make(r, cl))
		if err != c.err || string(got) != c.data {
			t.Errorf("1.3, %s: %q %v, want %q %v", c.name, got, err, c.data, c.err)
		}
	}
	for _, c := range []struct {
		name string
		make maker
		data string
		err  error
	}{
		{"renegotiation", sealed(typeHandshake, 1, 0, 0, 0), "", refused(alertNoRenegotiation)},
		{"KeyUpdate", sealed(typeHandshake, 24, 0, 0, 1, 0), "", refused(alertNoRenegotiation)},
		{"warning", then(sealed(typeAlert, 1, 41), data), "d", nil},
		{"another number in the nonce is the client's", data, "d", nil},
		{"too much inside", func(r *Ring, cl *Session) []byte { return cl.out().seal(r, nil, typeData, long) }, "", refused(alertRecordOverflow)},
	} {
		r := &Ring{}
		s, cl := two(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
		got, _, err := s.Open(r, c.make(r, cl))
		if err != c.err || string(got) != c.data {
			t.Errorf("1.2, %s: %q %v, want %q %v", c.name, got, err, c.data, c.err)
		}
	}
}

// TestRepeatedAndReordered: a record that comes twice, or before its turn, is no
// record of this connection.
func TestRepeatedAndReordered(t *testing.T) {
	for _, k := range suites {
		r := &Ring{}
		s, cl := two(k.id)
		cl.out().seq++
		second := cl.out().seal(r, nil, typeData, []byte("2"))
		if _, _, err := s.Open(r, bytes.Clone(second)); err != (Alert{Code: alertBadRecordMAC}) {
			t.Errorf("%s: before its turn: %v", s, err)
		}
		s, cl = two(k.id)
		first := cl.out().seal(r, nil, typeData, []byte("1"))
		if _, _, err := s.Open(r, append(bytes.Clone(first), first...)); err != (Alert{Code: alertBadRecordMAC}) {
			t.Errorf("%s: twice: %v", s, err)
		}
	}
}

func TestDamagedState(t *testing.T) {
	for _, k := range suites {
		s, _ := two(k.id)
		good := s.Append(nil)
		if len(good) > MaxState {
			t.Errorf("a state has %d bytes", len(good))
		}
		for i := range good {
			if _, err := Restore(good[:i]); err == nil {
				t.Fatalf("%s: %d of %d bytes were taken", s, i, len(good))
			}
		}
		n := (len(good) - 3) / 2
		for name, change := range map[string]func(b []byte){
			"version": func(b []byte) { b[0]++ }, "suite": func(b []byte) { b[2] ^= 0x55 },
			"flags in": func(b []byte) { b[3] = 0x20 }, "idle": func(b []byte) { b[3] = 17 },
			"flags out": func(b []byte) { b[3+n] = 1 }, "asks and owes nothing": func(b []byte) { b[3+n] = flagAsks },
			"number in": func(b []byte) { b[4] = 1 }, "number out": func(b []byte) { b[4+n] = 1 },
		} {
			b := bytes.Clone(good)
			change(b)
			if _, err := Restore(b); err == nil {
				t.Errorf("%s: damaged %s was taken", s, name)
			}
		}
		if _, err := Restore(append(good, 0)); err == nil {
			t.Error("something follows a state")
		}
		b := bytes.Clone(good)
		copy(b[3+n:], b[3:3+n])
		if _, err := Restore(b); err == nil {
			t.Error("both directions have one key")
		}
	}
	s, _ := two(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	s.out().seq = 0
	if _, err := Restore(s.Append(nil)); err == nil {
		t.Error("number 0 of TLS 1.2 is Finished")
	}
	s.out().seq = lastSeq
	if _, err := Restore(s.Append(nil)); err == nil {
		t.Error("nothing can be sealed after the last record of a key, not even its end")
	}
	s.out().seq = 1
	long := s.Append(nil)
	long[3+4] = 1 // behind version, suite and flags: the client's number is 2^32 more
	if _, err := Restore(long); err == nil {
		t.Error("a number of more than 32 bits was taken")
	}
	s.out().seq, s.out().flags = 1, flagOwes
	if _, err := Restore(s.Append(nil)); err == nil {
		t.Error("TLS 1.2 owes no KeyUpdate")
	}
}
