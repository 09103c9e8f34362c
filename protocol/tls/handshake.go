package tls

import (
	"crypto/tls"
	"errors"
	"slices"
)

// Wire is what a handshake talks through.
type Wire interface {
	// Record waits for the client's next record and returns it, whole, with its
	// header; it is the callee's.
	Record() ([]byte, error)
	// Send takes records for the client, which must be copied.
	Send(p []byte) error
}

// Server shakes hands for a listener. Any goroutine.
type Server struct{ config *tls.Config }

// NewServer returns a Server for config, which stays the caller's: it may change
// the ticket keys, and what its functions return, at any time. Ticket keys have to
// be set explicitly (SetSessionTicketKeys), and be those of all processes. Where
// config allows less than TLS 1.2, or other cipher suites than this package
// carries on, that is not offered.
func NewServer(config *tls.Config) *Server { return &Server{config} }

// Result is a handshake that has succeeded.
type Result struct {
	Session    *Session
	ALPN       string // "" is none
	ServerName string // that the client asked for
	Resumed    bool
}

// errCarryOn is about crypto/tls, not about the client; see SelfTest.
var errCarryOn = errors.New("crypto/tls has not told what it takes to go on with the connection")

// Handshake shakes hands and returns when the client's last message of it is
// there. It has read no record beyond that one. It waits in w.Record; its errors
// are those of crypto/tls and w.
func (s *Server) Handshake(w Wire) (Result, error) {
	h := &shaking{wire: w, index: -1}
	defer h.wipe()
	c := tls.Server(h, s.prepare(h))
	if err := c.Handshake(); err != nil {
		return Result{}, err
	}
	state := c.ConnectionState()
	session, err := h.session(state.CipherSuite)
	return Result{session, state.NegotiatedProtocol, state.ServerName, state.DidResume}, err
}

// prepare returns the config of one handshake. Its key log is that handshake's
// alone.
func (s *Server) prepare(h *shaking) *tls.Config {
	c := s.config.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mine := s.config
		if mine.GetConfigForClient != nil {
			theirs, err := mine.GetConfigForClient(hello)
			if err != nil {
				return nil, err
			}
			if theirs != nil {
				mine = theirs
			}
		}
		mine = mine.Clone()
		mine.GetConfigForClient, mine.KeyLogWriter = nil, (*keyLog)(h)
		mine.MinVersion = max(mine.MinVersion, tls.VersionTLS12)
		mine.CipherSuites = offered(mine.CipherSuites)
		// crypto/tls tells no secret of a session of TLS 1.2 that is resumed.
		if mine.MaxVersion == tls.VersionTLS12 || !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
			mine.SessionTicketsDisabled = true
		}
		return mine, nil
	}
	return c
}

// offered returns what of a config's suites for TLS 1.2 is carried on.
func offered(ids []uint16) []uint16 {
	if ids == nil {
		return suites12()
	}
	return slices.DeleteFunc(suites12(), func(id uint16) bool { return !slices.Contains(ids, id) })
}
