package tls

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"testing"
)

// clients are kinds of connections.
func clients() map[string]*tls.Config {
	only := func(id uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{id}}
	}
	return map[string]*tls.Config{
		"1.3":             {},
		"1.3 no ticket":   {SessionTicketsDisabled: true},
		"1.3 hello retry": {CurvePreferences: []tls.CurveID{tls.CurveP521, tls.X25519}},
		"1.3 resumed":     {ClientSessionCache: tls.NewLRUClientSessionCache(4)},
		"1.2 aes128":      only(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
		"1.2 aes256":      only(tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
		"1.2 chacha":      only(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
		"1.2 and tickets": {MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4)},
	}
}

// TestMoveAfterEveryByte: the state goes to another process after each byte of a
// record that comes, and after each of one that goes; crypto/tls at the other end
// notices nothing. In TLS 1.3 the keys change on the way.
func TestMoveAfterEveryByte(t *testing.T) {
	for name, cc := range clients() {
		t.Run(name, func(t *testing.T) {
			cc = cc.Clone()
			cc.InsecureSkipVerify, cc.ServerName = true, "x"
			sc := serverConfig(t)
			sc.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
			var c *connection
			var err error
			for range 2 { // the second may be a resumption
				c, err = shake(t, sc, cc)
				check(t, err)
				var r Ring
				out, err := c.res.Session.Seal(&r, nil, []byte("hello"))
				check(t, err)
				check(t, c.ours.Send(out))
				got := make([]byte, 5)
				if _, err := io.ReadFull(c.peer, got); err != nil || string(got) != "hello" { // takes the ticket, too
					t.Fatalf("%q %v", got, err)
				}
			}
			if want := name == "1.3 resumed"; c.res.Resumed != want || c.peer.ConnectionState().DidResume != want {
				t.Errorf("resumed: %v", c.res.Resumed)
			}
			c.everyByte(t)
		})
	}
	for name, cc := range clients() {
		t.Run("as client/"+name, func(t *testing.T) {
			cc.InsecureSkipVerify, cc.SessionTicketsDisabled = true, true
			sc := serverConfig(t)
			sc.SessionTicketsDisabled = true
			asClient(t, sc, cc).everyByte(t)
		})
	}
}

func (c *connection) everyByte(t *testing.T) {
	s, r := c.res.Session, &Ring{}
	whole := 2
	for cut := 1; cut < whole; cut++ {
		if cut%5 == 0 {
			s.Rekey()
		}
		msg := fmt.Appendf(nil, "message %3d", cut)
		_, err := c.peer.Write(msg)
		check(t, err)
		rec, err := c.ours.Record()
		check(t, err)
		whole = len(rec)
		data, rest, err := s.Open(r, bytes.Clone(rec[:cut]))
		if err != nil || len(data) > 0 || len(rest) != cut {
			t.Fatalf("cut %d: %q, %d left, %v", cut, data, len(rest), err)
		}
		s = move(t, s, r)
		data, rest, err = s.Open(r, append(bytes.Clone(rest), rec[cut:]...))
		if err != nil || len(rest) > 0 || !bytes.Equal(data, msg) {
			t.Fatalf("cut %d: %q %v", cut, data, err)
		}
		out, err := s.Seal(r, nil, data)
		check(t, err)
		check(t, c.ours.Send(out[:cut]))
		s = move(t, s, r)
		check(t, c.ours.Send(out[cut:]))
		got := make([]byte, len(msg))
		if _, err := io.ReadFull(c.peer, got); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("cut %d: %q %v", cut, got, err)
		}
	}
	check(t, c.ours.Send(s.Shut(r, nil, nil)))
	if n, err := c.peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after close_notify: %d %v", n, err)
	}
	check(t, c.peer.CloseWrite())
	rec, err := c.ours.Record()
	check(t, err)
	if _, _, err := s.Open(r, rec); err != io.EOF {
		t.Errorf("the other's close_notify: %v", err)
	}
}

// TestDataBehindFinished: what the client sends with its last handshake message
// is not read by crypto/tls.
func TestDataBehindFinished(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		a, b := wire(t)
		cl := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		done := make(chan error, 1)
		go func() {
			_, err := cl.Write(bytes.Repeat([]byte("x"), 20_000))
			done <- err
		}()
		res, err := NewServer(serverConfig(t)).Handshake(pipe{b})
		check(t, err)
		check(t, <-done)
		var r Ring
		got := 0
		for got < 20_000 {
			rec, err := pipe{b}.Record()
			check(t, err)
			data, _, err := res.Session.Open(&r, rec)
			check(t, err)
			got += len(data)
		}
	}
}

// TestLongTicket: a client certificate makes the ticket more than one record.
func TestLongTicket(t *testing.T) {
	sc := serverConfig(t)
	sc.ClientAuth = tls.RequireAnyClientCert
	cert, err := throwaway()
	check(t, err)
	for range 90 {
		cert.Certificate = append(cert.Certificate, cert.Certificate[0])
	}
	c, err := shake(t, sc, &tls.Config{InsecureSkipVerify: true, ServerName: "x", Certificates: []tls.Certificate{cert},
		ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	check(t, err)
	if c.res.Session.out().seq < 2 {
		t.Fatalf("%d records of a ticket", c.res.Session.out().seq)
	}
	c.everyByte(t)
}

func TestHandshakeRefused(t *testing.T) {
	for name, cc := range map[string]*tls.Config{
		"old version":     {MaxVersion: tls.VersionTLS11},
		"CBC":             {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"RSA key":         {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
		"ALPN":            {NextProtos: []string{"h2"}},
		"unknown servant": {ServerName: "x"},
	} {
		cc.InsecureSkipVerify = name != "unknown servant"
		cc.MinVersion = tls.VersionTLS10
		if c, err := shake(t, serverConfig(t), cc); err == nil {
			t.Errorf("%s: %v", name, c.res)
		}
	}
	sc := serverConfig(t)
	sc.MinVersion = tls.VersionTLS13
	if _, err := shake(t, sc, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("min_version")
	}
	sc = serverConfig(t)
	sc.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	c, err := shake(t, sc, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if check(t, err); c.res.Session.String() != "1.2 AES256" {
		t.Error(c.res.Session)
	}
}

// TestConfigOfACaller: what a config's own functions say holds.
func TestConfigOfACaller(t *testing.T) {
	other := serverConfig(t)
	other.NextProtos = []string{"other"}
	sc := serverConfig(t)
	sc.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "other" {
			return other, nil
		}
		return nil, nil
	}
	for name, alpn := range map[string]string{"other": "other", "x": "http/1.1"} {
		c, err := shake(t, sc, &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"http/1.1", "other"}})
		if check(t, err); c.res.ALPN != alpn || c.res.ServerName != name {
			t.Errorf("%s: %+v", name, c.res)
		}
		c.everyByte(t)
	}
}

func TestSelfTest(t *testing.T) {
	check(t, SelfTest())
}
