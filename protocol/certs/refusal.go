package certs

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
)

// Hint says in words that a person can act on why a handshake failed; "" = there
// is nothing to do about it: the client has gone.
func Hint(err error) string {
	var header tls.RecordHeaderError
	var alert tls.AlertError
	text := err.Error()
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, io.EOF), has("connection reset", "broken pipe"):
		return ""
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "the client was too slow"
	case errors.As(err, &header):
		return "the client does not speak TLS: its address begins with https:// or wss://"
	case has("unsupported certificate curve", "unsupported certificate key", "unsupported certificate: private key", "key size too small", "no certificates configured", "internal error"):
		return "the fault is here, not the client's: no handshake can be made with this certificate's kind of key"
	case has("failed to verify certificate"): // by us
		switch {
		case has("expired or is not yet valid"):
			return "the client's certificate, or one of its issuers, has expired or is not valid yet: it needs a new one"
		case has("incompatible key usage"):
			return "the client's certificate is not meant for clients (extended key usage)"
		}
		return "the client's certificate is not of an authority in client_ca, or comes without the issuers between them"
	case has("unknown certificate authority", "bad certificate", "certificate unknown"): // by the client
		return "the client does not trust the certificate: is the whole chain in the file, and does the client know its root?"
	case has("expired certificate"):
		return "the client finds the certificate expired"
	case has("didn't provide a certificate"):
		return "the client has no certificate, which client_ca asks for"
	case has("unsupported versions", "protocol version not supported"):
		return "the client speaks no version of TLS from min_version on"
	case has("no cipher suite", "no ECDHE curve", "signature algorithms"):
		return "the client knows none of the ciphers, curves or signatures that are safe: it is too old"
	case has("application protocol"):
		return "the client offers no HTTP/1.1 (ALPN)"
	case errors.As(err, &alert) || strings.HasPrefix(text, "remote error"):
		return "the client broke off"
	}
	return "the client does not keep to the protocol"
}

// Clear is the answer to a client that speaks HTTP in the clear to a TLS listener.
const Clear = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 67\r\n\r\n" +
	"This port speaks TLS: the address has to begin with https or wss.\r\n"

// IsHTTP says whether a record header, the first five bytes of a client, is a
// request in the clear.
func IsHTTP(head [5]byte) bool {
	for _, method := range []string{"GET /", "POST ", "HEAD ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "PRI *"} {
		if string(head[:]) == method {
			return true
		}
	}
	return false
}
