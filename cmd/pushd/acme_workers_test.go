package main_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// toll is port 443 as the authority sees it, some hops before the server: while
// it is down, whoever asks for a proof waits there.
type toll struct {
	t        *testing.T
	to, port string

	mu   sync.Mutex
	came int           // since it is down
	open chan struct{} // closed when who waits may go on
}

func newToll(t *testing.T, to string) *toll {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	g := &toll{t: t, to: to, open: make(chan struct{})}
	_, g.port, _ = net.SplitHostPort(ln.Addr().String())
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go g.pass(c)
		}
	}()
	return g
}

func (g *toll) pass(c net.Conn) {
	defer c.Close()
	g.mu.Lock()
	g.came++
	open := g.open
	g.mu.Unlock()
	<-open
	up, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, c)
		up.Close()
	}()
	_, _ = io.Copy(c, up)
}

// down keeps those who ask from now on.
func (g *toll) down() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.came, g.open = 0, make(chan struct{})
}

func (g *toll) up() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

// await waits until the authority asks for the proof of the nth order since it is
// down: from three places each time.
func (g *toll) await(nth int) {
	g.t.Helper()
	pushdtest.Eventually(g.t, "the authority asks for a proof", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.came >= 3*nth
	})
}

// issuedWorkers are two workers behind TLS, whose certificate is ordered.
type issuedWorkers struct {
	*secureServer
	t    *testing.T
	toll *toll
	from *authority

	config string
}

func newIssuedWorkers(t *testing.T) *issuedWorkers {
	t.Helper()
	s := &issuedWorkers{secureServer: &secureServer{}, t: t}
	s.Server = pushdtest.Start(t, pushdtest.Options{Manual: true, Env: []string{"PUSHD_TLS_LOOK=1h"}, Config: reloadConfig})
	s.Secure = true
	s.toll = newToll(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
	s.from = startAuthority(t, s.toll.port, 21)
	s.config = `
watchdog = 0
[[worker]]
name = "push"
listen = "wss://127.0.0.1:{{port}}"
count = 2
tls = { acme = ["push.example.com"], email = "ops@example.com", acme_directory = "` + s.from.directory + `", acme_ca = "` + s.from.ca + `" }
routes = { "/echo" = "echo" }
`
	s.WriteConfig(s.config)
	s.MustRun("check")
	s.MustRun("start", "-d")
	return s
}

// shown is what each worker shows a client that asks for these protocols: by slot,
// the state of its handshake.
func (s *issuedWorkers) shown(protocols ...string) (all []tls.ConnectionState) {
	s.t.Helper()
	for slot := range 2 {
		s.Alone(slot, func() {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: pushdtest.Timeout}, "tcp", s.toll.to,
				&tls.Config{ServerName: "push.example.com", NextProtos: protocols, InsecureSkipVerify: true})
			if err != nil {
				s.t.Fatalf("slot %d: %v", slot, err)
			}
			defer c.Close()
			all = append(all, c.ConnectionState())
		})
	}
	return all
}

// prove fails the test unless both workers prove the domain (RFC 8737), to the
// authority alone.
func (s *issuedWorkers) prove(when string) {
	s.t.Helper()
	id := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}
	var digests [][]byte
	for slot, state := range s.shown("acme-tls/1") {
		for _, e := range state.PeerCertificates[0].Extensions {
			if e.Id.Equal(id) && e.Critical && state.NegotiatedProtocol == "acme-tls/1" {
				digests = append(digests, e.Value)
			}
		}
		if len(digests) != slot+1 || !bytes.Equal(digests[0], digests[slot]) {
			s.t.Fatalf("%s, slot %d: no proof, or another one: %v %v", when, slot, state.NegotiatedProtocol, state.PeerCertificates[0].Subject)
		}
	}
	for slot, state := range s.shown("http/1.1") {
		if slices.ContainsFunc(state.PeerCertificates[0].Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) }) {
			s.t.Errorf("%s, slot %d: the proof is shown to a browser", when, slot)
		}
	}
}

// issued waits until both workers serve a certificate of the authority, another one than before.
func (s *issuedWorkers) issued(what, before string) (serial string) {
	s.t.Helper()
	pool := s.from.pool(s.t)
	pushdtest.Eventually(s.t, what, func() bool {
		var serials []string
		for _, state := range s.shown("http/1.1") {
			leaf := state.PeerCertificates[0]
			chain := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				chain.AddCert(c)
			}
			at := leaf.NotBefore.Add(time.Second) // it may be over when this machine is busy
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "push.example.com", Roots: pool, Intermediates: chain, CurrentTime: at}); err != nil {
				return false
			}
			serials = append(serials, leaf.SerialNumber.String())
		}
		serial = serials[0]
		return serials[0] == serials[1] && serial != before
	})
	return serial
}

// TestWorkersAreIssuedTheirCertificate: an order, and two renewals, in whose middle,
// while the authority is on its way to ask for the proof, a worker is killed, all
// is reloaded, and the broker process, which orders, is killed.
func TestWorkersAreIssuedTheirCertificate(t *testing.T) {
	if os.Getenv("PUSHD_TEST_FULL") != "1" {
		t.Skip("builds and runs the test authority of Let's Encrypt: PUSHD_TEST_FULL=1")
	}
	s := newIssuedWorkers(t)
	s.toll.await(1)
	s.prove("the first order")
	pid := s.Status().Workers[1].PID
	s.Kill(pid)
	pushdtest.Eventually(t, "another worker is ready", func() bool {
		w := s.Status().Workers[1]
		return w.PID != pid && w.State == "ready"
	})
	s.prove("after a death")
	s.toll.up()
	first := s.issued("a certificate is issued, and served by both", "")
	account, err := os.ReadFile(s.file("data/acme/account.pem"))
	if err != nil {
		t.Fatal(err)
	}

	s.toll.down()
	clients := slices.Concat(s.DialEach("/echo", 2)...)
	s.toll.await(1)
	s.prove("the first renewal")
	moves := func() {
		t.Helper()
		if r := reload(t, s.Server); !r.OK || r.Moved < len(clients) || r.Drained != 0 {
			t.Fatalf("%+v", r)
		}
	}
	moves()
	s.prove("after a reload")
	s.WriteConfig("log_level = \"debug\"\n" + s.config)
	moves()
	s.toll.await(2) // the new broker process orders for itself
	s.prove("after a reload that has replaced the broker process")
	s.toll.up()
	second := s.issued("the renewed certificate is served by both", first)

	s.toll.down()
	s.toll.await(1)
	broker := s.Status().Broker.PID
	s.Kill(broker)
	pushdtest.Eventually(t, "another broker process is there", func() bool {
		pid := s.Status().Broker.PID
		return pid != 0 && pid != broker
	})
	s.toll.await(2)
	s.prove("after the death of the broker process")
	s.toll.up()
	s.issued("the certificate is renewed once more", second)
	for _, c := range clients {
		c.SendText("still here")
		c.WantText("still here")
	}
	if now, err := os.ReadFile(s.file("data/acme/account.pem")); err != nil || !bytes.Equal(now, account) {
		t.Error("the account is another one:", err)
	}
	if log := s.Log(); strings.Contains(log, "BEGIN") || strings.Contains(log, "certificate not issued") || strings.Contains(log, "cause=tls_handshake") {
		t.Errorf("log:\n%s", log)
	}
}
