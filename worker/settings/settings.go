// Package settings has the values that a config gives to a worker group, their defaults
// and what is wrong with them. They are plain values: cmd/config fills them in, a
// worker process reads them on its loop, once, and nobody writes them after that.
package settings

import (
	"fmt"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/worker/channel"
)

// Settings are the values that a config gives to a worker group. New fills in
// the defaults; a program may change them before cmd.Run. They are read once,
// when the process starts.
type Settings struct {
	Limits       Limits        `json:"limits"`
	Slow         channel.Slow  `json:"slow"`               // default channel.SlowClose
	SlowChannels []ChannelSlow `json:"channels,omitempty"` // in place of Slow and of Worker.ChannelRules; the first that matches counts
	PingInterval time.Duration `json:"ping_interval"`      // silence before a ping; default 55 s, 0 = never
	PingTimeout  time.Duration `json:"ping_timeout"`       // silence after it before closing; default 10 s
	Compression  bool          `json:"compression"`        // permessage-deflate; default off
	// ProxyProtocol says that connections from trusted proxies begin with a header
	// of the PROXY protocol, version 1 or 2, which names the client; default off.
	ProxyProtocol bool `json:"proxy_protocol,omitempty"`
	// TLS is for listeners behind it: wss, https, tls, text+tls … nil = there is none.
	TLS *certs.Settings `json:"tls,omitempty"`
	// Redirect, RedirectHTTPS or that with a port, sends the requests of http and websocket listeners to
	// the first https or wss one, with 308; default "", they are answered.
	Redirect string `json:"redirect,omitempty"`
}

// Limits bound what one client, or all of them, can make a process hold. 0
// means no limit, where it does not say otherwise.
type Limits struct {
	MaxMessage       int           `json:"max_message"`       // bytes of a message; default 64 KiB
	MaxBody          int           `json:"max_body"`          // bytes of a request's body; default 256 KiB
	MaxFragments     int           `json:"max_fragments"`     // frames of one WebSocket message; default 1024
	MaxRate          int           `json:"max_rate"`          // messages of a connection a second; default 0
	MaxControlRate   int           `json:"max_control_rate"`  // control frames a second; default 100
	MaxHeader        int           `json:"max_header"`        // bytes of a request's header; default 8 KiB
	MaxHeaders       int           `json:"max_headers"`       // lines of a request's header; default 100
	HandshakeTimeout time.Duration `json:"handshake_timeout"` // from accept to the request's end; default 10 s
	MaxQueue         int           `json:"max_queue"`         // unsent bytes of a connection; default 1 MiB
	MaxConnections   int           `json:"max_connections"`   // of this process; 0 = the descriptor limit less a reserve
	FullWait         time.Duration `json:"full_wait"`         // how long who finds no place waits before it is told; default 0
	TLSHandshakes    int           `json:"tls_handshakes"`    // TLS handshakes that are worked on at once; others wait; default 1024
	PerIP            int           `json:"per_ip"`            // connections of one address in this process; default 0
	PerIPRate        int           `json:"per_ip_rate"`       // new connections a second of one address; default 0
}

// Default returns the documented defaults.
func Default() Settings {
	return Settings{
		Limits: Limits{
			MaxMessage:       64 << 10,
			MaxBody:          256 << 10,
			MaxFragments:     1024,
			MaxControlRate:   100,
			MaxHeader:        8 << 10,
			MaxHeaders:       100,
			HandshakeTimeout: 10 * time.Second,
			MaxQueue:         1 << 20,
			TLSHandshakes:    1024,
		},
		Slow:         channel.SlowClose,
		PingInterval: 55 * time.Second,
		PingTimeout:  10 * time.Second,
	}
}

// Error is what Validate finds.
type Error struct {
	Key string // as in the config: "slow", "channels[0]", "limits.max_queue"
	Err error
}

// Error says what is wrong; Key is where.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// minHeader is less than any handshake of a browser takes, in bytes.
const minHeader = 128

// Validate names the first setting that makes no sense, in a *Error.
func (s *Settings) Validate() error {
	if err := s.Slow.Check(); err != nil {
		return &Error{"slow", err}
	}
	for i := range s.SlowChannels {
		if err := s.SlowChannels[i].check(); err != nil {
			return &Error{fmt.Sprintf("channels[%d]", i), err}
		}
	}
	l := &s.Limits
	for _, v := range []struct {
		key string
		n   int64
	}{
		{"limits.max_message", int64(l.MaxMessage)}, {"limits.max_body", int64(l.MaxBody)}, {"limits.max_fragments", int64(l.MaxFragments)},
		{"limits.max_rate", int64(l.MaxRate)}, {"limits.max_control_rate", int64(l.MaxControlRate)}, {"limits.max_header", int64(l.MaxHeader)},
		{"limits.max_headers", int64(l.MaxHeaders)}, {"limits.handshake_timeout", int64(l.HandshakeTimeout)},
		{"limits.max_queue", int64(l.MaxQueue)}, {"limits.max_connections", int64(l.MaxConnections)},
		{"limits.full_wait", int64(l.FullWait)}, {"limits.tls_handshakes", int64(l.TLSHandshakes)}, {"limits.per_ip", int64(l.PerIP)}, {"limits.per_ip_rate", int64(l.PerIPRate)},
		{"ping_interval", int64(s.PingInterval)}, {"ping_timeout", int64(s.PingTimeout)},
	} {
		if v.n < 0 {
			return &Error{v.key, fmt.Errorf("%s is negative: use 0 for no limit", v.key)}
		}
	}
	if l.MaxHeader > 0 && l.MaxHeader < minHeader {
		return &Error{"limits.max_header", fmt.Errorf("limits.max_header is %d: no client gets in with less than %d bytes", l.MaxHeader, minHeader)}
	}
	if s.Redirect != "" {
		if _, _, err := s.RedirectPort(); err != nil {
			return &Error{"redirect", err}
		}
	}
	if s.TLS != nil {
		if err := s.TLS.Validate(); err != nil {
			return &Error{"tls", err}
		}
	}
	return nil
}
