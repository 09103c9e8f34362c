// Package certs makes of certificates, keys and ticket keys, which come as
// bytes, what a TLS listener is configured with, and says in words a person can
// act on what of them does not fit together. It reads no files.
package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// ExpiryNotice is how long before its end a certificate is warned of.
const ExpiryNotice = 14 * 24 * time.Hour

// Pair is a certificate, those of its issuers, and its key. They fit together.
type Pair struct {
	tls.Certificate                     // Leaf is set
	issuers         []*x509.Certificate // behind Leaf, as they are sent
}

// ParsePair reads a chain of certificates and the key of the first one, in PEM.
// Both may stand in the same bytes; what else is there is skipped.
func ParsePair(chain, key []byte) (*Pair, error) {
	p := new(Pair)
	chain, key = text(chain), text(key)
	for _, der := range blocks(chain, "CERTIFICATE") {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the file: %w", len(p.Certificate.Certificate)+1, err)
		}
		p.Certificate.Certificate = append(p.Certificate.Certificate, der)
		p.issuers = append(p.issuers, c)
	}
	if len(p.issuers) == 0 {
		return nil, errors.New("it holds no certificate: a block that begins with -----BEGIN CERTIFICATE-----")
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	whole, err := tls.X509KeyPair(encode(p.Certificate.Certificate...), key)
	if err != nil {
		return nil, p.misfit(key, err)
	}
	p.PrivateKey, p.Leaf, p.issuers = whole.PrivateKey, p.issuers[0], p.issuers[1:]
	if err := usable(p.Leaf); err != nil {
		return nil, err
	}
	return p, nil
}

// Bits of an RSA key below which nobody takes its certificate, and below which many
// do not.
const (
	leastRSA = 1024
	goodRSA  = 2048
)

// usable says why no client could be shown a certificate: of such a key crypto/tls
// says so at each handshake.
func usable(c *x509.Certificate) error {
	const better = "make a key that clients take (openssl ecparam -genkey -noout -name prime256v1), and have a certificate issued for it"
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if name := k.Curve.Params().Name; !slices.Contains([]string{"P-256", "P-384", "P-521"}, name) {
			return fmt.Errorf("its key is of the curve %s, which TLS does not take: %s", name, better)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < leastRSA {
			return fmt.Errorf("its RSA key has %d bits, which nobody takes: %s", n, better)
		}
	}
	return nil
}

// text is a file of PEM without the mark that editors of Windows begin it with, which
// would hide its first block.
func text(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

// Placeholder makes a pair of which no client is content, until there is a better one.
func Placeholder() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "no certificate issued yet"},
		NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return (&Pair{Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}).Encode()
}

// checkKey finds what crypto/tls would say in words of its own.
func checkKey(key []byte) error {
	for rest := key; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return errors.New("the key file holds no private key: a block that begins with -----BEGIN PRIVATE KEY-----")
		}
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return errors.New("the key is protected by a passphrase, which nobody is asked for: write it without one (openssl pkey -in KEY -out NEWKEY)")
		}
		return nil
	}
}

// misfit says which certificate the key belongs to, if it is not the first.
func (p *Pair) misfit(key []byte, err error) error {
	for i, der := range p.Certificate.Certificate[1:] {
		if _, wrong := tls.X509KeyPair(encode(der), key); wrong == nil {
			return fmt.Errorf("its first certificate is that of %s, but the key belongs to the %s: put the server's own certificate first, then its issuers",
				subject(p.issuers[0]), ordinal(i+2))
		}
	}
	if strings.Contains(err.Error(), "does not match") {
		return fmt.Errorf("the key does not belong to the certificate of %s: they are of two pairs", subject(p.issuers[0]))
	}
	return fmt.Errorf("read the key: %s", strings.TrimPrefix(err.Error(), "tls: "))
}

// Encode writes the pair as ParsePair reads it, twice from the same bytes.
func (p *Pair) Encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.PrivateKey)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return append(encode(p.Certificate.Certificate...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

// Names are the names and addresses that the certificate is for.
func (p *Pair) Names() []string {
	names := append([]string{}, p.Leaf.DNSNames...)
	for _, ip := range p.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Expiry says in words that a certificate, which is good until then, is over or
// soon will be; "" = it is good for a while.
func Expiry(until, now time.Time) string {
	on := until.UTC().Format("2006-01-02 15:04 MST")
	switch left := until.Sub(now); {
	case left <= 0:
		return "it has expired on " + on + ": clients refuse it"
	case left < 48*time.Hour:
		return fmt.Sprintf("it expires in %d hours, on %s", int(left.Hours()), on)
	case left < ExpiryNotice:
		return fmt.Sprintf("it expires in %d days, on %s", int(left.Hours()/24), on)
	}
	return ""
}

// Validity is Expiry of a certificate that is good from then on.
func Validity(from, until, now time.Time) string {
	if from.After(now) {
		return "it is not valid before " + from.UTC().Format("2006-01-02 15:04 MST") + ": clients refuse it"
	}
	return Expiry(until, now)
}

// Notes say what clients will probably object to.
func (p *Pair) Notes(now time.Time) (notes []string) {
	note := func(says string, args ...any) { notes = append(notes, fmt.Sprintf(says, args...)) }
	if v := Validity(p.Leaf.NotBefore, p.Leaf.NotAfter, now); v != "" {
		notes = append(notes, v)
	}
	if k, ok := p.Leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < goodRSA {
		note("its RSA key has %d bits: many clients refuse less than %d", k.N.BitLen(), goodRSA)
	}
	if len(p.Names()) == 0 {
		note("it names no host (subject alternative name): clients refuse it")
	}
	if usage := p.Leaf.ExtKeyUsage; len(usage) > 0 && !hasUsage(usage) {
		note("it is not meant for servers (extended key usage): clients refuse it")
	}
	below := p.Leaf
	for i, c := range p.issuers {
		if !bytes.Equal(below.RawIssuer, c.RawSubject) {
			note("its %s certificate, of %s, has not issued the one before it, of %s: put each behind the one that it has issued",
				ordinal(i+2), subject(c), subject(below))
			break
		}
		below = c
	}
	return append(notes, p.trust()...)
}

func hasUsage(list []x509.ExtKeyUsage) bool {
	for _, u := range list {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// trust says whether a client with this machine's roots would believe it.
func (p *Pair) trust() []string {
	between := x509.NewCertPool()
	for _, c := range p.issuers {
		between.AddCert(c)
	}
	_, err := p.Leaf.Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: p.Leaf.NotBefore.Add(time.Second)})
	switch unknown := (x509.UnknownAuthorityError{}); {
	case !errors.As(err, &unknown):
		return nil
	case bytes.Equal(p.Leaf.RawIssuer, p.Leaf.RawSubject):
		return []string{"it is signed by itself: clients refuse it that were not told to trust it"}
	case len(p.issuers) == 0:
		return []string{"no issuer stands behind it in the file, and this machine does not know " + strings.TrimSpace(p.Leaf.Issuer.String()) +
			": if that is an intermediate, clients will refuse it (of certbot take fullchain.pem)"}
	}
	return []string{"this machine does not trust its issuers: clients refuse it that were not told to"}
}

// ParseRoots reads certificates of authorities in PEM.
func ParseRoots(data []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	list := blocks(text(data), "CERTIFICATE")
	for i, der := range list {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the file: %w", i+1, err)
		}
		pool.AddCert(c)
	}
	if len(list) == 0 {
		return nil, errors.New("it holds no certificate: a block that begins with -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}

// RootNotes say of which authorities in PEM no client gets in, or only one.
func RootNotes(data []byte, now time.Time) (notes []string) {
	for _, der := range blocks(text(data), "CERTIFICATE") {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			continue // ParseRoots has said so
		}
		switch {
		case c.NotAfter.Before(now):
			notes = append(notes, fmt.Sprintf("the authority %s has expired on %s: who has a certificate of it is refused", subject(c), c.NotAfter.UTC().Format("2006-01-02 15:04 MST")))
		case c.NotBefore.After(now):
			notes = append(notes, fmt.Sprintf("the authority %s is not valid before %s: who has a certificate of it is refused", subject(c), c.NotBefore.UTC().Format("2006-01-02 15:04 MST")))
		case c.Version == 3 && !c.BasicConstraintsValid || c.BasicConstraintsValid && !c.IsCA:
			notes = append(notes, fmt.Sprintf("%s is no authority: it lets in who has this very certificate, and nobody else", subject(c)))
		}
	}
	return notes
}

// blocks returns the contents of the PEM blocks of that type.
func blocks(data []byte, typ string) (list [][]byte) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return list
		}
		if b.Type == typ {
			list = append(list, b.Bytes)
		}
	}
}

func encode(certificates ...[]byte) []byte {
	var all []byte
	for _, der := range certificates {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return all
}

func subject(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case c.Subject.CommonName != "":
		return fmt.Sprintf("%q", c.Subject.CommonName)
	}
	return "an unnamed subject"
}

func ordinal(n int) string {
	switch n {
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}
