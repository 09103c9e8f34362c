// Package raw passes bytes through as they arrive: each read is a message, and
// a message is written as it is. It serves the schemes tcp, udp and unix.
package raw

import "github.com/pushd/pushd/protocol"

func init() {
	for _, scheme := range []string{"tcp", "udp", "unix"} {
		protocol.Register(scheme, Protocol{})
	}
}

// Protocol implements protocol.Protocol. It holds no state.
type Protocol struct{}

// Input takes whatever has arrived as one packet, limit bytes at a time: a
// stream has no packets that could be too long.
func (Protocol) Input(buf []byte, limit int) (int, error) {
	if limit > 0 && len(buf) > limit {
		return limit, nil
	}
	return len(buf), nil
}

// Decode returns packet unchanged.
func (Protocol) Decode(packet []byte) ([]byte, error) { return packet, nil }

// Encode appends payload unchanged.
func (Protocol) Encode(dst, payload []byte) []byte { return append(dst, payload...) }
