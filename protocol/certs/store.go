package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Store holds what the master has given to this process, by the names of
// Settings.Sources, and the sets made of it. Its methods may be called by any
// goroutine.
type Store struct {
	mu      sync.Mutex
	pairs   map[string]*Pair
	roots   map[string]*x509.CertPool
	tickets map[string][][32]byte
	proof   map[string]*Pair // challenges; nil = none at the moment
	sets    []*Set
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{pairs: map[string]*Pair{}, roots: map[string]*x509.CertPool{}, tickets: map[string][][32]byte{}, proof: map[string]*Pair{}}
}

// Put takes in a source, in the place of an earlier one of that name: handshakes
// that begin from now on use it. After an error the earlier one stays. data may
// be wiped when it returns.
func (s *Store) Put(name, kind string, data []byte) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case KindPair:
		var p *Pair
		if p, err = ParsePair(data, data); err == nil {
			s.pairs[name] = p
		}
	case KindRoots:
		var pool *x509.CertPool
		if pool, err = ParseRoots(data); err == nil {
			s.roots[name] = pool
		}
	case KindTickets:
		var keys [][32]byte
		if keys, err = parseTickets(data); err == nil {
			s.tickets[name] = keys
		}
	case KindChallenge:
		var p *Pair
		if len(data) > 0 {
			p, err = ParsePair(data, data)
		}
		if err == nil {
			s.proof[name] = p
		}
	default:
		return nil // of a newer master: nobody here has asked for it
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, set := range s.sets {
		if set.uses[name] {
			set.config.Store(s.build(set))
		}
	}
	return nil
}

// Set is what the TLS listeners with the same Settings use.
type Set struct {
	settings Settings
	alpn     []string
	uses     map[string]bool
	config   atomic.Pointer[tls.Config]
}

// Config returns the configuration as of now. It is shared: Clone it to change
// it. Clones open the tickets of all processes, as their keys were set by
// SetSessionTicketKeys.
func (s *Set) Config() *tls.Config { return s.config.Load() }

// Set makes a set, whose sources are all there. alpn are the protocols that may
// be agreed on; without any, none is.
func (s *Store) Set(settings Settings, alpn ...string) (*Set, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	set := &Set{settings: settings, alpn: alpn, uses: map[string]bool{}}
	for _, src := range settings.Sources() {
		if _, proof := s.proof[src.Name]; !proof && s.pairs[src.Name] == nil && s.roots[src.Name] == nil && s.tickets[src.Name] == nil {
			return nil, fmt.Errorf("the running master has no copy of %s: it is of a version before TLS; use restart", src.Name)
		}
		set.uses[src.Name] = true
	}
	set.config.Store(s.build(set))
	s.sets = append(s.sets, set)
	return set, nil
}

// Suites are those of TLS 1.2 that are spoken: ECDHE for forward secrecy, and
// AEAD. Those of TLS 1.3 are all of this kind.
var Suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// build makes the configuration of a set. mu is held.
func (s *Store) build(set *Set) *tls.Config {
	c := &tls.Config{MinVersion: versions[set.settings.MinVersion], CipherSuites: Suites, NextProtos: set.alpn}
	ch := &chooser{byName: map[string][]*Pair{}}
	for _, f := range set.settings.Certificates {
		ch.add(s.pairs[f.name()])
		if f.Order != nil {
			ch.proof = s.proof[challengeName]
			ch.proves = true
		}
	}
	if ch.proves {
		c.NextProtos = append(slices.Clip(c.NextProtos), ALPN)
	}
	c.GetCertificate = ch.choose
	if ca := set.settings.ClientCA; ca != "" {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, s.roots[set.settings.rootsName()]
	}
	c.SetSessionTicketKeys(s.tickets[set.settings.ticketsName()])
	return c
}

// chooser finds the certificate for a client. It does not change.
type chooser struct {
	all    []*Pair
	byName map[string][]*Pair // lower case; "*.example.com" too
	proves bool               // authorities may ask for proof
	proof  *Pair              // nil = there is none
}

func (c *chooser) add(p *Pair) {
	c.all = append(c.all, p)
	for _, name := range p.Leaf.DNSNames {
		name = strings.ToLower(name)
		c.byName[name] = append(c.byName[name], p)
	}
}

// choose is tls.Config.GetCertificate: of the certificates for the name that the
// client asks for the first that it can use, without any the first of all.
func (c *chooser) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if c.proves && slices.Equal(hello.SupportedProtos, []string{ALPN}) {
		if c.proof == nil || !slices.Contains(c.proof.Leaf.DNSNames, name) {
			return nil, fmt.Errorf("no challenge of %q is open", name)
		}
		return &c.proof.Certificate, nil
	}
	fit := c.byName[name]
	if _, parent, ok := strings.Cut(name, "."); ok && len(fit) == 0 {
		fit = c.byName["*."+parent]
	}
	if len(fit) == 0 {
		fit = c.all
	}
	if len(fit) > 1 {
		for _, p := range fit {
			if hello.SupportsCertificate(&p.Certificate) == nil {
				return &p.Certificate, nil
			}
		}
	}
	return &fit[0].Certificate, nil
}
