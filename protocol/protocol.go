// Package protocol turns bytes into messages and messages into bytes. Nothing
// here does I/O, reads a clock or starts a goroutine.
//
// A packet protocol answers three questions, as in Workerman: how long is the
// first packet, what message is in it, and how is a message written. The
// built-in ones are text, frame and raw; Register adds one's own. HTTP and
// WebSocket keep state between packets and have packages of their own.
package protocol

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// ErrTooLong says that a packet cannot fit into the limit that the owner of
// the connection has set.
var ErrTooLong = errors.New("packet exceeds max_message")

// A Protocol cuts a byte stream into packets. Its methods are called on the
// loop's goroutine, one at a time per process, and must not keep their
// arguments. A panic closes the connection for which they were called, or all that
// were to get what cannot be encoded.
type Protocol interface {
	// Input returns the length in bytes of the first packet in buf, or 0 when
	// more bytes are needed to tell. A length greater than len(buf) says that
	// the rest of the packet is still to come. An error closes the connection.
	// limit is the longest packet allowed, 0 meaning any.
	Input(buf []byte, limit int) (n int, err error)
	// Decode returns the message in one complete packet. The result may alias
	// packet; it is used before the next call.
	Decode(packet []byte) (payload []byte, err error)
	// Encode appends the packet that carries payload to dst.
	Encode(dst, payload []byte) []byte
}

// A Seeker is a Protocol whose packets do not begin with their length, so that
// Input has to look for their end. It goes on where it stopped, which keeps the
// work for a packet that comes byte by byte in proportion to its length.
type Seeker interface {
	Protocol
	// InputFrom is Input for a buf whose first seen bytes it, or Input, was given
	// before and found no end in.
	InputFrom(buf []byte, seen, limit int) (n int, err error)
}

// Input calls InputFrom where p has it, else Input.
func Input(p Protocol, buf []byte, seen, limit int) (n int, err error) {
	if s, ok := p.(Seeker); ok {
		return s.InputFrom(buf, seen, limit)
	}
	return p.Input(buf, limit)
}

var (
	mu       sync.RWMutex
	registry = map[string]Protocol{}
)

// Register makes p available as the listen scheme name, as in
// "name://127.0.0.1:7000". Call it from an init function; it panics when the
// name is empty or taken, so that the mistake shows at start.
func Register(name string, p Protocol) {
	mu.Lock()
	defer mu.Unlock()
	if name == "" || p == nil {
		panic("protocol: Register needs a name and a protocol")
	}
	if _, taken := registry[name]; taken {
		panic(fmt.Sprintf("protocol: %q is registered twice", name))
	}
	registry[name] = p
}

// Lookup returns the protocol registered under name. Any goroutine.
func Lookup(name string) (Protocol, bool) {
	mu.RLock()
	defer mu.RUnlock()
	p, ok := registry[name]
	return p, ok
}

// Names lists the registered protocols in alphabetical order. Any goroutine.
func Names() []string {
	mu.RLock()
	defer mu.RUnlock()
	return slices.Sorted(maps.Keys(registry))
}
