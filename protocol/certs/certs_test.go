package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

const month = 30 * 24 * time.Hour

// source makes what a store takes of a new certificate.
func source(t *testing.T, ca *testkit.CA, names ...string) []byte {
	t.Helper()
	cert, key := ca.Issue(month, names)
	p, err := ParsePair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// shake makes a handshake in memory and returns what the client sees.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // with the ticket before it
		}
		done <- err
		a.Close()
	}()
	c := tls.Client(b, client)
	_, err := io.ReadFull(c, make([]byte, 1))
	state := c.ConnectionState()
	return state, errors.Join(err, <-done)
}

// filled has the sources of two certificates and ticket keys.
func filled(t *testing.T, ca *testkit.CA) (*Store, Settings) {
	t.Helper()
	s := NewStore()
	settings := Settings{Certificates: []Files{{Cert: "a", Key: "a.key"}, {Cert: "b", Key: "b"}}}
	src := settings.Sources()
	for i, data := range [][]byte{source(t, ca, "a.example.com", "*.a.example.com"), source(t, ca, "b.example.com", "*.w.example.com"), NewTickets()} {
		if err := s.Put(src[i].Name, src[i].Kind, data); err != nil {
			t.Fatal(err)
		}
	}
	return s, settings
}

func TestNameChoosesTheCertificate(t *testing.T) {
	ca := testkit.NewCA(t)
	store, settings := filled(t, ca)
	set, err := store.Set(settings, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.example.com": "a.example.com", "B.Example.com": "b.example.com", "x.a.example.com": "a.example.com",
		"x.y.a.example.com": "a.example.com", "x.w.example.com": "b.example.com", "w.example.com": "a.example.com", "unknown.example.org": "a.example.com", "": "a.example.com",
	} {
		state, err := shake(t, set.Config(), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := state.PeerCertificates[0].DNSNames[0]; got != want || state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%q gets the certificate of %s, %q", name, got, state.NegotiatedProtocol)
		}
	}
}

// Of two certificates for one name a client gets the one that it can use.
func TestKindOfKeyChooses(t *testing.T) {
	ca := testkit.NewCA(t)
	s := NewStore()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: rsaKey.N, DNSNames: []string{"a.example.com"}, NotAfter: time.Now().Add(month)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &rsaKey.PublicKey, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	data := append(encode(der), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})...)
	settings := Settings{Certificates: []Files{{Cert: "ec", Key: "ec"}, {Cert: "rsa", Key: "rsa"}}}
	for name, d := range map[string][]byte{"ec": source(t, ca, "a.example.com"), "rsa": data} {
		if err := s.Put(name, KindPair, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put("ticket keys", KindTickets, NewTickets()); err != nil {
		t.Fatal(err)
	}
	set, err := s.Set(settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		suite uint16
		want  x509.PublicKeyAlgorithm
	}{{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, x509.RSA}, {tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, x509.ECDSA}} {
		state, err := shake(t, set.Config(), &tls.Config{
			ServerName: "a.example.com", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{c.suite},
		})
		if err != nil || state.PeerCertificates[0].PublicKeyAlgorithm != c.want {
			t.Errorf("%s: %v, %v", tls.CipherSuiteName(c.suite), state.PeerCertificates, err)
		}
	}
}

// A set follows its sources; what does not fit changes nothing.
func TestStoreReplaces(t *testing.T) {
	ca := testkit.NewCA(t)
	store, settings := filled(t, ca)
	set, err := store.Set(settings)
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.Set(Settings{Certificates: []Files{{Cert: "b", Key: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	before, untouched := set.Config(), other.Config()
	if err := store.Put("a with a.key", KindPair, []byte("nonsense")); err == nil || set.Config() != before {
		t.Errorf("nonsense: %v", err)
	}
	if err := store.Put("a with a.key", KindPair, source(t, ca, "c.example.com")); err != nil {
		t.Fatal(err)
	}
	if other.Config() != untouched {
		t.Error("a set that does not use the source has changed")
	}
	state, err := shake(t, set.Config(), &tls.Config{ServerName: "c.example.com", RootCAs: ca.Pool()})
	if err != nil || state.PeerCertificates[0].DNSNames[0] != "c.example.com" {
		t.Errorf("the new certificate: %v", err)
	}
	if err := store.Put("whatever", "of tomorrow", nil); err != nil {
		t.Errorf("a kind that is not known: %v", err)
	}
	if _, err := store.Set(Settings{Certificates: []Files{{Cert: "d", Key: "d"}}}); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("a source that is missing: %v", err)
	}
}

// Tickets open in other processes, after a day, in clones, and not for ever.
func TestTicketsOpenElsewhere(t *testing.T) {
	ca := testkit.NewCA(t)
	data := source(t, ca, "a.example.com")
	process := func(keys []byte) *tls.Config {
		s := NewStore()
		if err := errors.Join(s.Put("a", KindPair, data), s.Put("ticket keys", KindTickets, keys)); err != nil {
			t.Fatal(err)
		}
		set, err := s.Set(Settings{Certificates: []Files{{Cert: "a", Key: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		return set.Config().Clone()
	}
	today := NewTickets()
	tomorrow := NextTickets(today)
	afterwards := NextTickets(tomorrow)
	secret := bytes.Repeat([]byte{7}, 32)
	derive := func(day int64) []byte {
		keys, err := DeriveTickets(secret, day)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	for _, c := range []struct {
		name     string
		from, to []byte
		want     bool
	}{
		{"another process", today, today, true},
		{"one that is a day ahead", today, tomorrow, true},
		{"one that is a day behind", tomorrow, today, true},
		{"two days later", today, afterwards, false},
		{"random keys", NewTickets(), NewTickets(), false},
		{"derived", derive(20000), derive(20000), true},
		{"derived, the day after", derive(20000), derive(20001), true},
		{"derived, the day before", derive(20000), derive(19999), true},
		{"derived, two days after", derive(20000), derive(20002), false},
	} {
		client := &tls.Config{ServerName: "a.example.com", RootCAs: ca.Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if _, err := shake(t, process(c.from), client); err != nil {
			t.Fatal(err)
		}
		state, err := shake(t, process(c.to), client)
		if err != nil || state.DidResume != c.want {
			t.Errorf("%s: resumed %v, %v", c.name, state.DidResume, err)
		}
	}
}

func TestParsePairSaysWhatIsWrong(t *testing.T) {
	ca := testkit.NewCA(t)
	cert, key := ca.Issue(month, []string{"a.example.com"})
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	foreign := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
	issue := func(public crypto.PublicKey, private any) (cert, key []byte) {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example.com"}, NotAfter: time.Now().Add(month)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return encode(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd, oddKey := issue(&p224.PublicKey, p224)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ParsePair(issue(&short.PublicKey, short)); err != nil || !strings.Contains(strings.Join(p.Notes(time.Now()), ";"), "RSA key has 1024 bits") {
		t.Errorf("an RSA key of 1024 bits: %v", err)
	}
	unusable, err := tls.X509KeyPair(odd, oddKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, &tls.Config{Certificates: []tls.Certificate{unusable}}, &tls.Config{InsecureSkipVerify: true}); err == nil || !strings.Contains(Hint(err), "the fault is here") {
		t.Errorf("a handshake with a curve that nobody takes: %v: %s", err, Hint(err))
	}
	const mark = "\ufeff" // of editors of Windows
	marked := func(data []byte) []byte { return append([]byte(mark), data...) }
	if p, err := ParsePair(marked(append(bytes.Clone(cert), ca.PEM()...)), marked(key)); err != nil || len(p.Certificate.Certificate) != 2 {
		t.Errorf("files with a mark: %v", err)
	}
	if _, err := ParseRoots(marked(ca.PEM())); err != nil {
		t.Errorf("roots with a mark: %v", err)
	}
	for _, c := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"a curve that nobody takes", odd, oddKey, "its key is of the curve P-224"},
		{"nothing", nil, key, "holds no certificate"},
		{"garbage", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), key, "certificate 1 of the file"},
		{"no key", cert, nil, "holds no private key"},
		{"passphrase", cert, locked, "passphrase"},
		{"another key", cert, foreign, "of two pairs"},
		{"half a key", cert, key[:len(key)/2], "holds no private key"},
		{"authority first", append(ca.PEM(), cert...), key, "put the server's own certificate first"},
	} {
		if _, err := ParsePair(c.cert, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	both := append(bytes.Clone(key), append(cert, ca.PEM()...)...)
	p, err := ParsePair(both, both)
	if err != nil || len(p.Certificate.Certificate) != 2 {
		t.Fatalf("one file: %v", err)
	}
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParsePair(data, data); err != nil || !bytes.Equal(again.Leaf.Raw, p.Leaf.Raw) || len(again.issuers) != 1 {
		t.Errorf("encoded: %v", err)
	}
}

func TestExpiryInWords(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Hour: "has expired on 2026-05-01 11:00 UTC", 30 * time.Hour: "expires in 30 hours", 5 * 24 * time.Hour: "expires in 5 days",
		ExpiryNotice - time.Hour: "expires in 13 days",
	} {
		if got := Expiry(now.Add(left), now); !strings.Contains(got, want) {
			t.Errorf("%s: %q", left, got)
		}
	}
	if got := Expiry(now.Add(ExpiryNotice), now); got != "" {
		t.Errorf("in time: %q", got)
	}
}

func FuzzParsePair(f *testing.F) {
	ca := testkit.NewCA(f)
	cert, key := ca.Issue(month, []string{"a.example.com"})
	f.Add(cert, key)
	f.Add(append(ca.PEM(), cert...), key)
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		p, err := ParsePair(cert, key)
		if err != nil {
			return
		}
		p.Notes(time.Now())
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePair(data, data); err != nil {
			t.Errorf("written, it cannot be read: %v", err)
		}
	})
}

// TestClientsThatAreRefused: the hint says what is wrong with whose certificate.
func TestClientsThatAreRefused(t *testing.T) {
	ca := testkit.NewCA(t)
	pair := func(ca *testkit.CA, change ...func(*x509.Certificate)) []tls.Certificate {
		p, err := tls.X509KeyPair(ca.Issue(month, []string{"a"}, change...))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	server := &tls.Config{Certificates: pair(ca), ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	for want, c := range map[string]*tls.Config{
		"the client has no certificate":                            {InsecureSkipVerify: true},
		"the client's certificate is not of an authority":          {InsecureSkipVerify: true, Certificates: pair(testkit.NewCA(t))},
		"the client's certificate, or one of its issuers, has exp": {InsecureSkipVerify: true, Certificates: pair(ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		"the client's certificate is not meant for clients": {InsecureSkipVerify: true, Certificates: pair(ca, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})},
		"the client does not trust the certificate": {ServerName: "a"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c.MaxVersion = version
			b, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			a, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			refused := make(chan error, 1)
			go func() {
				refused <- tls.Server(a, server).Handshake()
				a.Close()
			}()
			_, err = tls.Client(b, c).Read(make([]byte, 1))
			b.Close()
			if hint := Hint(<-refused); err == nil || !strings.HasPrefix(hint, want) {
				t.Errorf("%x: %q, want %q", version, hint, want)
			}
		}
	}
}

// TestAuthoritiesThatLetNobodyIn is for what check says of client_ca.
func TestAuthoritiesThatLetNobodyIn(t *testing.T) {
	ca, now := testkit.NewCA(t), time.Now()
	leaf, _ := ca.Issue(month, []string{"push.example.com"})
	for _, c := range []struct {
		data []byte
		at   time.Time
		want string
	}{
		{ca.PEM(), now, ""},
		{ca.PEM(), now.AddDate(50, 0, 0), "has expired on"},
		{ca.PEM(), now.AddDate(-50, 0, 0), "is not valid before"},
		{leaf, now, "push.example.com is no authority"},
	} {
		if got := strings.Join(RootNotes(c.data, c.at), "; "); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := RootNotes(append(ca.PEM(), leaf...), now); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
