package tls

import "unsafe"

// Session is a TLS connection after its handshake. In Go's heap it has 80 bytes, or
// 112 with one of the suites whose secrets are longer than secretLen: few clients
// ask for those, and the others should not pay for them. newSession makes both, and
// nobody else makes a Session, or copies one.
type Session struct {
	in half
	// Our direction follows, where out has it.
}

// secretLen is how long the secrets are of TLS 1.3 with SHA-256.
const secretLen = 32

// longHalf is a direction of a suite that keeps more than secretLen bytes.
type longHalf struct {
	half
	_ [maxMaterial - secretLen]byte // the rest of its secret
}

type (
	shortSession struct{ in, out half }
	longSession  struct{ in, out longHalf }
)

// newSession makes a Session of suites[suite], which has no secrets yet.
func newSession(suite int) (s *Session) {
	if suites[suite].material() > secretLen {
		s = (*Session)(unsafe.Pointer(new(longSession)))
	} else {
		s = (*Session)(unsafe.Pointer(new(shortSession)))
	}
	s.in.suite = uint8(suite)
	s.out().suite = uint8(suite)
	return s
}

// out is our direction.
func (s *Session) out() *half {
	if s.in.kind().material() > secretLen {
		return &(*longSession)(unsafe.Pointer(s)).out.half
	}
	return &(*shortSession)(unsafe.Pointer(s)).out
}

// material is what the key is made of: the traffic secret, or key and IV in TLS 1.2,
// which has none. It is secret itself.
func (h *half) material() []byte {
	return unsafe.Slice(&h.secret[0], h.kind().material())
}
