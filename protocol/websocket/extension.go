package websocket

import (
	"bytes"
	"strconv"
)

// deflateOffer is one offer of permessage-deflate (RFC 7692, section 7.1).
type deflateOffer struct {
	serverBits uint8 // the window we must not exceed, 0 if not said
	clientBits uint8 // the window that the client can keep to, 0 if not said
	seen       uint8 // parameters that came, one bit each
	declined   bool  // a parameter is unknown, came twice or has a wrong value
}

// param takes one parameter of the offer. value is nil if it has none.
func (o *deflateOffer) param(name, value []byte) {
	const (
		serverTakeover = 1 << iota
		clientTakeover
		serverWindow
		clientWindow
	)
	var bit uint8
	valid := value == nil
	switch string(name) {
	case "server_no_context_takeover":
		bit = serverTakeover
	case "client_no_context_takeover":
		bit = clientTakeover
	case "server_max_window_bits":
		bit = serverWindow
		o.serverBits, valid = windowBits(value)
	case "client_max_window_bits":
		bit = clientWindow
		if value != nil {
			o.clientBits, valid = windowBits(value)
		}
	default:
		valid = false
	}
	if !valid || o.seen&bit != 0 {
		o.declined = true
	}
	o.seen |= bit
}

// windowBits reads 8 to 15 without leading zeros.
func windowBits(b []byte) (bits uint8, ok bool) {
	switch {
	case len(b) == 1 && (b[0] == '8' || b[0] == '9'):
		return b[0] - '0', true
	case len(b) == 2 && b[0] == '1' && b[1] >= '0' && b[1] <= '5':
		return 10 + b[1] - '0', true
	}
	return 0, false
}

// appendAnswer appends the header line that accepts o. Without context
// takeover a message depends on nothing before it, so a connection can move to
// another process between any two.
func (o *deflateOffer) appendAnswer(dst []byte) []byte {
	dst = append(dst, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"...)
	if o.serverBits > 0 {
		dst = strconv.AppendUint(append(dst, "; server_max_window_bits="...), uint64(o.serverBits), 10)
	}
	if o.clientBits > 0 {
		dst = strconv.AppendUint(append(dst, "; client_max_window_bits="...), uint64(o.clientBits), 10)
	}
	return append(dst, "\r\n"...)
}

// negotiate returns the first offer of permessage-deflate that can be accepted;
// declined is set in what it returns if there is none. Other extensions are
// passed over. ok is false if a header line breaks the grammar of RFC 6455,
// section 9.1.
func (r *Request) negotiate() (accepted deflateOffer, ok bool) {
	accepted.declined = true
	for name, value := range r.Headers() {
		if !equalFold(name, "sec-websocket-extensions") {
			continue
		}
		any := false
		s := scanner(value)
		for s.skip(','); len(s) > 0; s.skip(',') {
			offer, ok := s.extension()
			if !ok {
				return offer, false
			}
			if accepted.declined {
				accepted = offer
			}
			any = true
		}
		if !any {
			return accepted, false
		}
	}
	return accepted, true
}

// scanner is what is left of a header's value.
type scanner []byte

// extension reads one member of the list: a name and its parameters, up to the
// comma or the end.
func (s *scanner) extension() (offer deflateOffer, ok bool) {
	name := s.token()
	if name == nil {
		return offer, false
	}
	offer.declined = string(name) != "permessage-deflate"
	for s.take(';') {
		if name = s.token(); name == nil {
			return offer, false
		}
		var value []byte
		if s.take('=') {
			if value = s.value(); value == nil {
				return offer, false
			}
		}
		offer.param(name, value)
	}
	return offer, len(*s) == 0 || (*s)[0] == ','
}

// take removes c, with the spaces around it, if it comes next.
func (s *scanner) take(c byte) bool {
	b := trim(*s)
	if len(b) == 0 || b[0] != c {
		return false
	}
	*s = trim(b[1:])
	return true
}

// skip removes spaces and every c that comes next.
func (s *scanner) skip(c byte) {
	for s.take(c) {
	}
}

// token removes a token that comes next and returns it, nil if none does.
func (s *scanner) token() []byte {
	b := trim(*s)
	n := 0
	for n < len(b) && charClass[b[n]]&charToken != 0 {
		n++
	}
	if n == 0 {
		return nil
	}
	*s = trim(b[n:])
	return b[:n]
}

// value removes a token, which may be in quotes, and returns it, nil if none
// comes next.
func (s *scanner) value() []byte {
	if len(*s) == 0 || (*s)[0] != '"' {
		return s.token()
	}
	b := (*s)[1:]
	var plain []byte
	for {
		n := bytes.IndexAny(b, `"\`)
		if n < 0 || b[n] == '\\' && n+1 == len(b) {
			return nil
		}
		plain = append(plain, b[:n]...)
		if b[n] == '"' {
			*s = trim(b[n+1:])
			break
		}
		plain = append(plain, b[n+1])
		b = b[n+2:]
	}
	if !isToken(plain) {
		return nil
	}
	return plain
}
