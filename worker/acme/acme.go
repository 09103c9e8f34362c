// Package acme orders certificates, in the broker process: one account, one order
// at a time. It proves domains over TLS-ALPN-01 (RFC 8737): it writes the proof
// into a file, of which the master gives copies to all processes, and any worker
// answers with it. What was issued is a file too, and so goes the way that all
// certificates go. Nobody else orders, so a client's handshake never waits.
package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
)

// Bounds of one attempt and of the pauses between attempts.
const (
	attempt  = 5 * time.Minute
	pauseMin = time.Minute
	pauseMax = 6 * time.Hour
	lookMax  = time.Hour // the clock may jump
)

// Options say what to order.
type Options struct {
	Orders []certs.Order
	// Renew has the master look at the files and returns when all processes have
	// what is new in them.
	Renew func(context.Context, []control.Issue) error
	Log   *slog.Logger
}

// order is one certificate.
type order struct {
	certs.Order
	due    time.Time
	failed string // why the last attempt has; "" = it has not
	pause  time.Duration
}

type keeper struct {
	Options
	orders []*order
}

// Run keeps the certificates until ctx is over.
func Run(ctx context.Context, o Options) {
	k := &keeper{Options: o}
	for _, one := range o.Orders {
		k.orders = append(k.orders, &order{Order: one})
	}
	for {
		next := time.Now().Add(lookMax)
		for _, one := range k.orders {
			if one.failed == "" {
				one.due = dueOf(&one.Order)
			}
			if !time.Now().Before(one.due) {
				k.try(ctx, one)
			}
			if one.due.Before(next) {
				next = one.due
			}
		}
		if err := k.Renew(ctx, k.issues()); err != nil && ctx.Err() == nil {
			k.Log.Warn("certificates not shown to all processes", "error", err)
			next = time.Now().Add(pauseMin)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
	}
}

// dueOf is when the certificate is to be ordered: a third of its life before its end.
func dueOf(o *certs.Order) time.Time {
	data, err := os.ReadFile(o.File())
	if err != nil {
		return time.Time{}
	}
	defer clear(data)
	p, err := certs.ParsePair(data, data)
	if err != nil || !slices.Equal(sorted(p.Leaf.DNSNames), sorted(o.Domains)) {
		return time.Time{}
	}
	return p.Leaf.NotAfter.Add(-p.Leaf.NotAfter.Sub(p.Leaf.NotBefore) / 3)
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

func (k *keeper) issues() []control.Issue {
	list := []control.Issue{}
	for _, o := range k.orders {
		list = append(list, control.Issue{File: o.File(), Due: o.due, Error: o.failed})
	}
	return list
}

// try makes one attempt and plans the next.
func (k *keeper) try(ctx context.Context, o *order) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	k.Log.Info("certificate is ordered", "domains", o.Domains, "from", o.directory())
	err := k.order(ctx, o)
	if ctx.Err() == context.Canceled {
		return // the process leaves
	}
	if err == nil {
		o.failed, o.pause, o.due = "", 0, dueOf(&o.Order)
		k.Log.Info("certificate issued", "domains", o.Domains, "due", o.due)
		return
	}
	o.pause = min(max(2*o.pause, pauseMin), pauseMax)
	wait := o.pause
	if d, limited := acme.RateLimit(err); limited {
		wait = max(wait, d)
	}
	o.failed, o.due = err.Error(), time.Now().Add(wait)
	k.Log.Error("certificate not issued", "domains", o.Domains, "error", err, "again", o.due,
		"hint", "the authority must reach these domains on port 443 of a listener behind TLS of this server")
}

func (o *order) directory() string {
	if o.Directory == "" {
		return acme.LetsEncryptURL
	}
	return o.Directory
}

// order gets one certificate.
func (k *keeper) order(ctx context.Context, o *order) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	account := &acme.Account{}
	if o.Email != "" {
		account.Contact = []string{"mailto:" + o.Email}
	}
	if _, err := c.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return fmt.Errorf("register: %w", err)
	}
	ordered, err := c.AuthorizeOrder(ctx, acme.DomainIDs(o.Domains...))
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	defer os.Remove(o.Challenge())
	for _, url := range ordered.AuthzURLs {
		if err := k.prove(ctx, c, o, url); err != nil {
			return err
		}
	}
	if ordered, err = c.WaitOrder(ctx, ordered.URI); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	return o.collect(ctx, c, ordered)
}

// prove answers for one domain.
func (k *keeper) prove(ctx context.Context, c *acme.Client, o *order, url string) error {
	z, err := c.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	if z.Status == acme.StatusValid {
		return nil
	}
	name := z.Identifier.Value
	i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == "tls-alpn-01" })
	if i < 0 {
		return fmt.Errorf("%s: the authority offers no proof over TLS (tls-alpn-01)", name)
	}
	proof, err := c.TLSALPN01ChallengeCert(z.Challenges[i].Token, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := write(o.Challenge(), proof.Certificate, proof.PrivateKey); err != nil {
		return err
	}
	if err := k.Renew(ctx, k.issues()); err != nil {
		return fmt.Errorf("%s: the proof is not with all processes: %w", name, err)
	}
	if _, err := c.Accept(ctx, z.Challenges[i]); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := c.WaitAuthorization(ctx, url); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// collect makes a key, has it certified and writes both.
func (o *order) collect(ctx context.Context, c *acme.Client, ordered *acme.Order) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: o.Domains}, key)
	if err != nil {
		return err
	}
	chain, _, err := c.CreateOrderCert(ctx, ordered.FinalizeURL, request, true)
	if err != nil { // an authority that is not done at once need not repeat where to ask
		if later, waitErr := c.WaitOrder(ctx, ordered.URI); waitErr == nil && later.CertURL != "" {
			chain, err = c.FetchCert(ctx, later.CertURL, true)
		}
	}
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return write(o.File(), chain, key)
}

// client has the account's key, which is made when there is none.
func (o *order) client() (*acme.Client, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	key, err := o.accountKey()
	if err != nil {
		return nil, err
	}
	c := &acme.Client{Key: key, DirectoryURL: o.directory(), UserAgent: "pushd"}
	if o.Roots != "" {
		data, err := os.ReadFile(o.Roots)
		if err != nil {
			return nil, err
		}
		pool, err := certs.ParseRoots(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Roots, err)
		}
		c.HTTPClient = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool},
		}}
	}
	return c, nil
}

func (o *order) accountKey() (crypto.Signer, error) {
	file := filepath.Join(o.Dir, "account.pem")
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		return key, write(file, nil, key)
	}
	if err != nil {
		return nil, err
	}
	defer clear(data)
	b, _ := pem.Decode(data)
	if b == nil {
		return nil, fmt.Errorf("%s holds no key: remove it, and a new account is made", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s holds no key: remove it, and a new account is made: %w", file, err)
	}
	return signer, nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// write puts certificates and their key into a file, whole or not at all.
func write(file string, chain [][]byte, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(der)
	var b bytes.Buffer
	for _, c := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c}) // into memory
	}
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(b.Bytes())
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", file, n)
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		os.Remove(part)
	}
	return err
}
