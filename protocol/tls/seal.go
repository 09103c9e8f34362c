package tls

import "errors"

// worn is how many records one key of TLS 1.2 may seal: it has no KeyUpdate, so the
// connection has to end. RFC 8446, 5.5 allows 2^24.5 full ones of AES-GCM, and any
// number of ChaCha20. TLS 1.3 is in nonces.go.
func (s *suite) worn() uint32 {
	if s.chacha {
		return lastSeq - wornSoon
	}
	return 1 << 24
}

const (
	// wornSoon is how many records before that Worn tells.
	wornSoon = 1 << 12
	// lastSeq is the number of the last record of any key. One call of Seal begins long
	// before it, if at all.
	lastSeq = 1<<32 - 1
)

var (
	// ErrShut is Seal's after Shut.
	ErrShut = errors.New("TLS connection is shut down")
	// ErrWorn is Seal's when the key of TLS 1.2 is used up.
	ErrWorn = errors.New("TLS 1.2 connection has used up its key")
)

// Seal appends p as records to dst, behind a KeyUpdate that is due. It grows dst
// by at most MaxOverhead for each MaxData bytes of p.
func (s *Session) Seal(r *Ring, dst, p []byte) ([]byte, error) {
	h := s.out()
	switch {
	case h.flags&flagShut != 0:
		return dst, ErrShut
	case h.kind().tls12 && h.seq >= h.kind().worn():
		return dst, ErrWorn
	case !h.kind().tls12 && h.seq >= updateAfter:
		h.flags |= flagOwes
	}
	if h.flags&flagOwes != 0 {
		dst = s.sayUpdate(r, dst)
	}
	for len(p) > 0 {
		n := min(len(p), maxPlain)
		dst = h.seal(r, dst, typeData, p[:n])
		p = p[n:]
	}
	return dst, nil
}

// sayUpdate appends the KeyUpdate that is owed: one, however often the client has
// asked for it.
func (s *Session) sayUpdate(r *Ring, dst []byte) []byte {
	h := s.out()
	request := byte(0)
	if h.flags&flagAsks != 0 {
		request = 1
	}
	h.flags &^= flagOwes | flagAsks
	dst = h.seal(r, dst, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, request})
	h.update(r)
	updated(false)
	return dst
}

// rest asks the client for another key when it has used one for long: with the
// next data, once a key. An answer that is owed goes first, since it must not ask.
func (s *Session) rest() {
	if s.in.seq >= askAfter && s.out().flags&flagOwes == 0 && !s.in.kind().tls12 && s.in.flags&flagAsked == 0 {
		s.in.flags |= flagAsked
		s.out().flags |= flagOwes | flagAsks
	}
}

// Rekey makes another key begin with the next data, in TLS 1.3.
func (s *Session) Rekey() {
	if !s.out().kind().tls12 {
		s.out().flags |= flagOwes
	}
}

// Worn reports whether the connection has to end soon, since TLS 1.2 cannot change
// a key. There is room for a goodbye.
func (s *Session) Worn() bool {
	k := s.out().kind()
	return k.tls12 && s.out().seq >= k.worn()-wornSoon
}

// Shut appends the last record: the alert that why is, or close_notify for
// anything else. A client that has sent a fatal alert itself gets none. Calls
// after the first append nothing.
func (s *Session) Shut(r *Ring, dst []byte, why error) []byte {
	if s.out().flags&flagShut != 0 {
		return dst
	}
	s.out().flags |= flagShut
	p := []byte{levelWarning, alertCloseNotify}
	if a, ok := why.(Alert); ok {
		if a.Remote {
			return dst
		}
		if p = []byte{levelFatal, a.Code}; a.Code == alertNoRenegotiation { // never fatal (RFC 5246, 7.2.2), so the end is another
			dst = s.out().seal(r, dst, typeAlert, []byte{levelWarning, a.Code})
			p = []byte{levelWarning, alertCloseNotify}
		}
	}
	return s.out().seal(r, dst, typeAlert, p)
}

// Ended reports whether the client's direction has ended, by close_notify or an
// error.
func (s *Session) Ended() bool { return s.in.flags&flagShut != 0 }

// Closed reports whether the client has sent close_notify.
func (s *Session) Closed() bool { return s.in.flags&flagBye != 0 }
