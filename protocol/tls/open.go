package tls

import "io"

// maxIdle is how many records in a row may bring nothing: empty ones, KeyUpdates,
// warnings. The 17th ends the connection, as in crypto/tls.
const maxIdle = 16

// Begins reports whether p, not empty, begins like the first record of a handshake.
func Begins(p []byte) bool { return p[0] == typeHandshake }

// Need returns how many bytes the record has that p begins with, 0 while too few
// are there to tell.
func Need(p []byte) int {
	if len(p) < HeaderLen {
		return 0
	}
	return HeaderLen + int(p[3])<<8 + int(p[4])
}

// Open decrypts the whole records of p in place. data is what they say, together
// at the front of p; rest is the beginning of a record that is not whole. err is
// io.EOF after the client's close_notify, else an Alert; data is good even so,
// and no further record is.
func (s *Session) Open(r *Ring, p []byte) (data, rest []byte, err error) {
	w := 0
	for rest = p; len(rest) >= HeaderLen && err == nil; {
		if s.in.flags&flagShut != 0 {
			return p[:w], nil, io.EOF // what follows the end is no matter
		}
		n := Need(rest)
		if err = acceptable(rest, n); err != nil || len(rest) < n {
			break
		}
		rec := rest[:n]
		rest = rest[n:]
		var plain []byte
		if plain, err = s.record(r, rec); err == nil {
			w += copy(p[w:], plain)
		}
	}
	if err != nil {
		s.in.flags |= flagShut
		rest = nil
	}
	if err == io.EOF {
		s.in.flags |= flagBye
	}
	return p[:w], rest, err
}

// acceptable looks at the header of a record of n bytes.
func acceptable(head []byte, n int) error {
	switch {
	case n > MaxRecord:
		return Alert{Code: alertRecordOverflow}
	case head[1] != 3 || head[2] != 3:
		return Alert{Code: alertProtocolVersion}
	}
	return nil
}

// record opens one whole record and acts on it; data is what it has for the
// program.
func (s *Session) record(r *Ring, rec []byte) (data []byte, err error) {
	typ, plain, err := s.in.open(r, r.of(&s.in), rec)
	switch {
	case err != nil:
		return nil, err
	case typ == typeData && len(plain) > 0:
		s.in.flags &^= idleMask
		s.rest()
		return plain, nil
	case typ == typeAlert:
		if err = s.alert(plain); err != nil { // the end counts, whatever came before it
			return nil, err
		}
	}
	if s.in.flags&idleMask == maxIdle {
		return nil, Alert{Code: alertUnexpected}
	}
	s.in.flags++
	if typ == typeData || typ == typeAlert {
		return nil, nil
	}
	return nil, s.control(r, typ, plain)
}

// control acts on a record that is neither data nor an alert.
func (s *Session) control(r *Ring, typ byte, p []byte) error {
	switch {
	case typ == typeHandshake && s.in.kind().tls12:
		return Alert{Code: alertNoRenegotiation}
	case typ == typeHandshake:
		return s.keyUpdate(r, p)
	}
	return Alert{Code: alertUnexpected}
}

// alert acts on an alert. In TLS 1.3 all end the connection, whatever their level,
// but user_canceled, which close_notify follows.
func (s *Session) alert(p []byte) error {
	switch {
	case len(p) == 0: // RFC 8446, 5.4
		return Alert{Code: alertUnexpected}
	case len(p) != 2:
		return Alert{Code: alertDecode}
	case p[1] == alertCloseNotify:
		return io.EOF
	case s.in.kind().tls12 && p[0] == levelWarning, !s.in.kind().tls12 && p[1] == alertUserCanceled:
		return nil
	case s.in.kind().tls12 && p[0] != levelFatal:
		return Alert{Code: alertUnexpected}
	}
	return Alert{p[1], true}
}

// keyUpdate acts on the one handshake message that a client may send. It has to
// end its record, since what follows is under another key; one in two records is
// refused too, which nobody sends.
func (s *Session) keyUpdate(r *Ring, p []byte) error {
	switch {
	case len(p) < 4 || p[0] != messageKeyUpdate:
		return Alert{Code: alertUnexpected}
	case p[1] != 0 || p[2] != 0 || p[3] != 1:
		return Alert{Code: alertDecode}
	case len(p) != 5:
		return Alert{Code: alertUnexpected}
	case p[4] > 1:
		return Alert{Code: alertIllegal}
	}
	s.in.update(r)
	updated(true)
	s.in.flags &^= flagAsked
	s.out().flags &^= flagAsks // it has another key; and an answer asks for nothing
	if p[4] == 1 {
		s.out().flags |= flagOwes
	}
	return nil
}

// trial reports whether rec was sealed by h as its next record, and counts it if
// so. rec stays as it is.
func (h *half) trial(a *keyed, rec []byte) bool {
	var r Ring
	before := h.seq
	if _, _, err := h.open(&r, a, append([]byte(nil), rec...)); err != nil {
		h.seq = before
		return false
	}
	return true
}
