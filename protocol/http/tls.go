package http

// ErrTLS is what Reader.Head says of a client that begins a TLS handshake at a port that
// speaks HTTP in the clear. Its answer is TLSAlert; no HTTP response would be
// understood.
var ErrTLS = &Error{Cause: "a TLS client at a port without TLS"}

// TLSAlert ends a TLS handshake: a record with the fatal alert
// protocol_version (RFC 8446, section 6), which clients report as "this server
// does not speak (my) TLS".
const TLSAlert = "\x15\x03\x01\x00\x02\x02\x46"

// beginsTLS reports whether b is the beginning of a TLS handshake: no request
// line begins with the content type of its first record.
func beginsTLS(b []byte) bool { return len(b) > 0 && b[0] == 0x16 }
