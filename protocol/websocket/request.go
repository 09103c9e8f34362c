package websocket

import (
	"bytes"
	"iter"
)

// Request is an opening handshake that is well-formed, as OnHandshake sees it.
// It and all its slices are parts of the block given to Upgrade, valid until
// the decide function returns, and must not be changed.
type Request struct {
	URI    []byte // path and query, from the first '/' on
	Host   []byte // never empty
	Origin []byte // nil if there is none: not a browser

	fields      []byte // the lines between the request line and the empty line
	key         []byte
	connections int  // lines named Connection
	protocols   bool // there are lines named Sec-WebSocket-Protocol
	extensions  bool // and Sec-WebSocket-Extensions
}

// Headers yields every header line in order, spaces around the value cut.
func (r *Request) Headers() iter.Seq2[[]byte, []byte] { return fieldLines(r.fields) }

// Header returns the value of the first line of that name, in any case, nil if
// there is none. name must be in lower case.
func (r *Request) Header(name string) []byte {
	for n, v := range r.Headers() {
		if equalFold(n, name) {
			return v
		}
	}
	return nil
}

// Values returns the values of all lines of that name, in order, as copies. name
// must be in lower case.
func (r *Request) Values(name string) (list []string) {
	for n, v := range r.Headers() {
		if equalFold(n, name) {
			list = append(list, string(v))
		}
	}
	return list
}

// Protocols yields the subprotocols that the client offers, best first.
func (r *Request) Protocols() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for n, v := range r.Headers() {
			if !equalFold(n, "sec-websocket-protocol") {
				continue
			}
			for p := range elements(v) {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// Offers reports whether the client offers that subprotocol, in that spelling.
func (r *Request) Offers(protocol string) bool {
	for p := range r.Protocols() {
		if string(p) == protocol {
			return true
		}
	}
	return false
}

// IsUpgrade reports whether an HTTP request asks for a WebSocket, and so
// belongs to Upgrade. block begins with the request line; it need not be valid.
func IsUpgrade(block []byte) bool {
	_, fields, _ := cut(block, '\n')
	for n, v := range fieldLines(fields) {
		if equalFold(n, "upgrade") && hasElement(v, "websocket") {
			return true
		}
	}
	return false
}

// fieldLines yields names and values up to the empty line or the end.
func fieldLines(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(b) > 0 {
			var line []byte
			line, b, _ = cut(b, '\n')
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			if len(line) == 0 {
				return
			}
			name, value, _ := cut(line, ':')
			if !yield(name, trim(value)) {
				return
			}
		}
	}
}

// parse checks the form of a whole header block, which gobwas/ws takes more
// lightly, and finds the parts of r in it.
func (r *Request) parse(block []byte, maxHeaders int) error {
	line, rest, err := cutLine(block)
	if err != nil {
		return err
	}
	if err := r.parseRequestLine(line); err != nil {
		return err
	}
	r.fields = rest
	var seen seenFields
	for n := 0; ; n++ {
		if line, rest, err = cutLine(rest); err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if maxHeaders > 0 && n == maxHeaders {
			return errManyHeaders
		}
		if err := r.parseField(line, &seen); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errAfterBlock
	}
	if len(r.Host) == 0 {
		return errHost
	}
	return nil
}

// cutLine returns the bytes before the first CRLF and those after it.
func cutLine(b []byte) (line, rest []byte, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 1 || b[end-1] != '\r' {
		return nil, nil, errLine
	}
	return b[:end-1], b[end+1:], nil
}

// parseRequestLine checks "METHOD target HTTP/d.d" and takes the target, and
// the host if the target has one. What the method and the version must be is
// gobwas/ws's part.
func (r *Request) parseRequestLine(line []byte) error {
	method, line, _ := cut(line, ' ')
	target, version, _ := cut(line, ' ')
	v := version
	if !isToken(method) || len(v) != 8 || string(v[:5]) != "HTTP/" || v[6] != '.' ||
		!isDigit(v[5]) || !isDigit(v[7]) {
		return errRequestLine
	}
	if !all(target, charTarget) {
		return errTarget
	}
	r.URI = target
	for _, scheme := range []string{"http://", "https://"} {
		if len(target) > len(scheme) && equalFold(target[:len(scheme)], scheme) {
			r.splitAbsolute(target[len(scheme):])
			if !all(r.Host, charHost) || len(r.Host) == 0 {
				return errHost
			}
			break
		}
	}
	if len(r.URI) == 0 || r.URI[0] != '/' {
		return errTarget
	}
	return nil
}

// splitAbsolute takes host and path from an absolute target. Its host counts,
// not that of the Host line (RFC 9112, section 3.2.2).
func (r *Request) splitAbsolute(b []byte) {
	end := bytes.IndexAny(b, "/?")
	if end < 0 {
		end = len(b)
	}
	r.Host, r.URI = b[:end], b[end:]
	if len(r.URI) == 0 || r.URI[0] == '?' {
		r.URI = append([]byte{'/'}, r.URI...)
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// seenFields marks header lines that may come only once.
type seenFields struct{ host, origin, key, version bool }

// once sets seen and returns err if it was set before.
func once(seen *bool, err *HandshakeError) error {
	if *seen {
		return err
	}
	*seen = true
	return nil
}

// parseField checks one header line.
func (r *Request) parseField(line []byte, seen *seenFields) error {
	name, value, colon := cut(line, ':')
	if !colon || !isToken(name) || !all(value, charValue) {
		return errField // also a line that goes on the one before (obs-fold)
	}
	value = trim(value)
	switch {
	case equalFold(name, "host"):
		return r.parseHost(value, seen)
	case equalFold(name, "origin"):
		r.Origin = value
		return once(&seen.origin, errOrigin)
	case equalFold(name, "sec-websocket-key"):
		r.key = value
		return once(&seen.key, errKey)
	case equalFold(name, "sec-websocket-version"):
		return once(&seen.version, errVersionTwice)
	case equalFold(name, "connection"):
		r.connections++
		if !isTokenList(value) {
			return errConnection
		}
	case equalFold(name, "upgrade"):
		if !equalFold(value, "websocket") {
			return errUpgrade
		}
	case equalFold(name, "sec-websocket-protocol"):
		r.protocols = true
		if !isTokenList(value) {
			return errProtocols
		}
	case equalFold(name, "sec-websocket-extensions"):
		r.extensions = true
	case equalFold(name, "content-length"):
		if string(value) != "0" {
			return errBody
		}
	case equalFold(name, "transfer-encoding"):
		return errBody
	}
	return nil
}

func (r *Request) parseHost(value []byte, seen *seenFields) error {
	if len(value) == 0 || !all(value, charHost) {
		return errHost
	}
	if len(r.Host) == 0 { // else the target had one
		r.Host = value
	}
	return once(&seen.host, errHost)
}
