package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// SelfTest shakes hands with a client of crypto/tls in memory, by TLS 1.3 and by
// 1.2, and exchanges records with it. It is for the start of a process: what this
// package knows of crypto/tls beyond its interface may change with a release of
// Go, and then a listener is to be refused rather than clients cut. It takes a few
// milliseconds.
func SelfTest() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("TLS self-test: %v", p)
		}
	}()
	cert, err := throwaway()
	if err != nil {
		return fmt.Errorf("TLS self-test: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	config.SetSessionTicketKeys([][32]byte{{1}})
	for version, name := range map[uint16]string{tls.VersionTLS13: "1.3", tls.VersionTLS12: "1.2"} {
		if err := converse(NewServer(config), version); err != nil {
			return fmt.Errorf("TLS self-test, version %s, %s: %w", name, "this program was built with a Go that it does not know", err)
		}
	}
	return nil
}

// throwaway makes a certificate that nobody trusts.
func throwaway() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// pipe is a Wire on one end of a net.Pipe.
type pipe struct{ net.Conn }

func (p pipe) Record() ([]byte, error) {
	rec := make([]byte, HeaderLen)
	if _, err := io.ReadFull(p, rec); err != nil {
		return nil, err
	}
	rec = append(rec, make([]byte, Need(rec)-HeaderLen)...)
	_, err := io.ReadFull(p, rec[HeaderLen:])
	return rec, err
}

func (p pipe) Send(b []byte) error { _, err := p.Write(b); return err }

// converse sends "question" and gets "answer", twice, the second time in
// another place.
func converse(s *Server, version uint16) error {
	ours, theirs := net.Pipe()
	defer ours.Close()
	said := make(chan error, 1)
	go func() {
		defer theirs.Close()
		said <- inquire(tls.Client(theirs, &tls.Config{MaxVersion: version, InsecureSkipVerify: true}))
	}()
	r, err := s.Handshake(pipe{ours})
	for range 2 {
		var ring Ring
		if err == nil {
			err = reply(r.Session, &ring, pipe{ours})
		}
		if err == nil {
			r.Session, err = Restore(r.Session.Append(nil))
		}
	}
	if err != nil {
		return err
	}
	return <-said
}

func reply(s *Session, ring *Ring, p pipe) error {
	rec, err := p.Record()
	if err != nil {
		return err
	}
	data, _, err := s.Open(ring, rec)
	if err != nil || !bytes.Equal(data, []byte("question")) {
		return fmt.Errorf("a record says %q: %w", data, err)
	}
	out, err := s.Seal(ring, nil, []byte("answer"))
	if err != nil {
		return err
	}
	return p.Send(out)
}

func inquire(c *tls.Conn) error {
	got := make([]byte, len("answer"))
	for range 2 {
		if _, err := c.Write([]byte("question")); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(got) != "answer" {
			return fmt.Errorf("the client read %q", got)
		}
	}
	return nil
}
