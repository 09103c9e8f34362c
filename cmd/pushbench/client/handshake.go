package client

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	keyLength   = 24       // characters of a Sec-WebSocket-Key
	maxResponse = 16 << 10 // bytes of a response head
	guid        = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// RefusedError is an answer to the handshake that is no 101.
type RefusedError struct{ Status string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("handshake refused with %q", e.Status)
}

func newKey() (key [keyLength]byte) {
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], rand.Uint64())
	binary.LittleEndian.PutUint64(nonce[8:], rand.Uint64())
	base64.StdEncoding.Encode(key[:], nonce[:])
	return key
}

func appendRequest(dst []byte, t *Target, key [keyLength]byte) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, t.Path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, t.Host...)
	dst = append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"...)
	if t.Origin != "" {
		dst = append(dst, "Origin: "...)
		dst = append(dst, t.Origin...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "Sec-WebSocket-Key: "...)
	dst = append(dst, key[:]...)
	return append(dst, "\r\n\r\n"...)
}

// parseResponse reads the head of the server's answer at the start of b and
// returns its length, or 0 while it is incomplete.
func parseResponse(b []byte, key [keyLength]byte) (int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxResponse {
			return 0, errors.New("handshake: the answer's head exceeds 16 KiB")
		}
		return 0, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	if status := lines[0]; !strings.HasPrefix(status, "HTTP/1.1 101") {
		return 0, &RefusedError{Status: status}
	}
	var upgrade, connection, accept string
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return 0, fmt.Errorf("handshake: header line %q has no colon", line)
		}
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "upgrade":
			upgrade = value
		case "connection":
			connection = value
		case "sec-websocket-accept":
			accept = value
		case "sec-websocket-extensions", "sec-websocket-protocol":
			return 0, fmt.Errorf("handshake: %q was not offered", line)
		}
	}
	if !strings.EqualFold(upgrade, "websocket") || !strings.Contains(strings.ToLower(connection), "upgrade") {
		return 0, fmt.Errorf("handshake: Upgrade %q and Connection %q do not say websocket", upgrade, connection)
	}
	if accept != acceptFor(key) {
		return 0, fmt.Errorf("handshake: Sec-WebSocket-Accept %q does not fit the key", accept)
	}
	return end + 4, nil
}

func acceptFor(key [keyLength]byte) string {
	sum := sha1.Sum(append(key[:], guid...))
	return base64.StdEncoding.EncodeToString(sum[:])
}
