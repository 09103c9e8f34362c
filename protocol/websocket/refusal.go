package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gobwas/ws"
)

// HandshakeError says why a handshake was refused. The response that Upgrade
// returned with it is complete: send it, then close the connection.
type HandshakeError struct {
	Status int    // of the response
	Cause  string // one word, the same for every refusal of its kind: for counters
	Detail string // for the log, and the response's body unless the Answer had one
}

// Error names the cause and what to look at. It holds no byte of the request.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("websocket handshake refused (%s): %s", e.Cause, e.Detail)
}

func badRequest(cause, detail string) *HandshakeError {
	return &HandshakeError{Status: http.StatusBadRequest, Cause: cause, Detail: detail}
}

var (
	errLine        = badRequest("malformed", "a header line does not end in CRLF, or the empty line is missing")
	errRequestLine = badRequest("malformed", "the request line is not METHOD target HTTP/1.1")
	errTarget      = badRequest("target", "the request target must be a path, or http://host/path, in ASCII without a fragment")
	errField       = badRequest("malformed", "a header line is not Name: value in permitted characters")
	errAfterBlock  = badRequest("malformed", "bytes after the header")
	errBody        = badRequest("body", "a WebSocket handshake has no body")

	errHost         = badRequest("host", "exactly one valid Host is needed")
	errOrigin       = badRequest("origin", "more than one Origin")
	errConnection   = badRequest("connection", "Connection must list Upgrade")
	errUpgrade      = badRequest("upgrade", "Upgrade must be websocket")
	errKey          = badRequest("key", "exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed")
	errVersionTwice = badRequest("version", "more than one Sec-WebSocket-Version")
	errNoVersion    = badRequest("version", "Sec-WebSocket-Version is missing; 13 is spoken here")
	errProtocols    = badRequest("subprotocol", "Sec-WebSocket-Protocol must list distinct tokens")
	errExtensions   = badRequest("extensions", "Sec-WebSocket-Extensions is malformed")

	errManyHeaders = &HandshakeError{http.StatusRequestHeaderFieldsTooLarge, "headers", "too many header lines"}
	errMethod      = &HandshakeError{http.StatusMethodNotAllowed, "method", "the method must be GET"}
	errHTTPVersion = &HandshakeError{http.StatusHTTPVersionNotSupported, "http_version", "HTTP/1.1 is needed"}
	errVersion     = &HandshakeError{http.StatusUpgradeRequired, "version", "only Sec-WebSocket-Version 13 is spoken here"}
	errNoUpgrade   = &HandshakeError{http.StatusUpgradeRequired, "upgrade", "this address speaks WebSocket only"}
)

// ErrDeferred is what Upgrade returns when the answer is not known yet.
var ErrDeferred = errors.New("websocket: handshake is not answered yet")

// refusal translates what gobwas/ws's upgrader returns.
func refusal(err error) *HandshakeError {
	switch err {
	case ws.ErrHandshakeBadMethod:
		return errMethod
	case ws.ErrHandshakeBadProtocol:
		return errHTTPVersion
	case ws.ErrHandshakeBadHost:
		return errHost
	case ws.ErrHandshakeBadUpgrade: // a wrong one did not pass parse
		return errNoUpgrade
	case ws.ErrHandshakeBadConnection:
		return errConnection
	case ws.ErrHandshakeBadSecKey:
		return errKey
	case ws.ErrHandshakeBadSecVersion:
		return errNoVersion
	case ws.ErrHandshakeUpgradeRequired:
		return errVersion
	}
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		return e
	}
	return badRequest("malformed", err.Error())
}

// appendResponse appends the whole response for e. fields and body are those
// of the Answer, if there was one.
func (e *HandshakeError) appendResponse(dst []byte, fields []Field, body string) []byte {
	if body == "" && e.Status == http.StatusInternalServerError { // our side's fault: for the log only
		body = http.StatusText(e.Status) + "\n"
	} else if body == "" {
		body = e.Detail + "\n"
	}
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(e.Status), 10)
	dst = append(append(dst, ' '), http.StatusText(e.Status)...)
	dst = strconv.AppendInt(append(dst, "\r\nContent-Length: "...), int64(len(body)), 10)
	switch e.Status {
	case http.StatusMethodNotAllowed:
		dst = append(dst, "\r\nAllow: GET\r\nConnection: close\r\n"...)
	case http.StatusUpgradeRequired:
		dst = append(dst, "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: close, Upgrade\r\n"...)
	default:
		dst = append(dst, "\r\nConnection: close\r\n"...)
	}
	if e.Cause == "version" && e.Status != http.StatusUpgradeRequired {
		dst = append(dst, "Sec-WebSocket-Version: 13\r\n"...)
	}
	if !hasField(fields, "content-type") {
		dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\n"...)
	}
	dst = appendFields(dst, fields)
	return append(append(dst, "\r\n"...), body...)
}
