package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Settings say what the TLS listeners of a worker group, or of the API, speak.
type Settings struct {
	Certificates []Files `json:"certificates"` // chosen by the name that a client asks for; the first for all others

	MinVersion string `json:"min_version,omitempty"` // "1.2", the default, or "1.3"
	// ClientCA is a file of authorities: clients need a certificate of one. "" = they need none.
	ClientCA string `json:"client_ca,omitempty"`
	// TicketSecretFile holds at least 32 bytes of which the keys of session tickets
	// are derived, alike on all machines; "" = random ones, of this machine.
	TicketSecretFile string `json:"ticket_secret_file,omitempty"`
}

// Files are where a certificate, with its issuers behind it, and its key stand.
// They may be one file.
type Files struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`

	Order *Order `json:"acme,omitempty"` // not nil: the broker process orders it and writes both into one file, Cert and Key
}

// Order is a certificate that an authority issues by ACME.
type Order struct {
	Domains   []string `json:"domains"`
	Email     string   `json:"email,omitempty"`     // that the authority may write to
	Directory string   `json:"directory,omitempty"` // URL of the authority; "" = Let's Encrypt
	Roots     string   `json:"roots,omitempty"`     // file of authorities that its own certificate is of; "" = those of the system
	Dir       string   `json:"dir"`                 // folder of what is kept
}

// Check finds domains that TLS-ALPN-01 cannot prove.
func (o *Order) Check() error {
	var wild, wrong []string
	for _, d := range o.Domains {
		switch {
		case strings.HasPrefix(d, "*."):
			wild = append(wild, strconv.Quote(d))
		case !domain().MatchString(d) || net.ParseIP(d) != nil:
			wrong = append(wrong, strconv.Quote(d))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s: no domain that an authority issues for", strings.Join(append(wrong, wild...), ", "))
	}
	if len(wild) > 0 {
		return fmt.Errorf("%s: a wildcard cannot be proved over TLS: order it by certbot with a DNS plugin, and name its files as cert and key", strings.Join(wild, ", "))
	}
	if len(o.Domains) == 0 {
		return errors.New("acme names no domain")
	}
	if u, err := url.Parse(o.Directory); o.Directory != "" && (err != nil || u.Scheme != "https") {
		return fmt.Errorf("acme_directory %q: write https://…", o.Directory)
	}
	return nil
}

// domain is compiled where one is configured: it is 80 KB.
var domain = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$`)
})

// File is where the certificate is kept, and Challenge that by which a domain is
// proved at the moment.
func (o *Order) File() string      { return filepath.Join(o.Dir, o.Domains[0]+".pem") }
func (o *Order) Challenge() string { return filepath.Join(o.Dir, "challenge.pem") }

// ALPN is the protocol by which authorities ask for a challenge (RFC 8737).
const ALPN = "acme-tls/1"

// Source is something that Settings need of the disk, by the name under which a
// Store has it.
type Source struct {
	Name  string
	Kind  string
	Files []string // of KindPair certificate and key; of KindTickets the secret, none = random

	Optional bool // the files come later
}

// Kinds of Source.
const (
	KindPair    = "pair"
	KindRoots   = "roots"
	KindTickets = "tickets"

	KindChallenge = "challenge" // a pair, or nothing
)

// Sources lists what s needs. nil settings need nothing.
func (s *Settings) Sources() (list []Source) {
	if s == nil {
		return nil
	}
	for _, f := range s.Certificates {
		list = append(list, Source{f.name(), KindPair, []string{f.Cert, f.Key}, f.Order != nil})
		if f.Order != nil {
			list = append(list, Source{challengeName, KindChallenge, []string{f.Order.Challenge()}, true})
		}
	}
	if s.ClientCA != "" {
		list = append(list, Source{Name: s.rootsName(), Kind: KindRoots, Files: []string{s.ClientCA}})
	}
	tickets := Source{Name: s.ticketsName(), Kind: KindTickets}
	if s.TicketSecretFile != "" {
		tickets.Files = []string{s.TicketSecretFile}
	}
	return append(list, tickets)
}

const challengeName = "acme challenge"

func (f Files) name() string {
	if f.Key == f.Cert {
		return f.Cert
	}
	return f.Cert + " with " + f.Key
}

func (s *Settings) rootsName() string { return "client_ca " + s.ClientCA }

func (s *Settings) ticketsName() string {
	if s.TicketSecretFile == "" {
		return "ticket keys"
	}
	return "ticket keys of " + s.TicketSecretFile
}

var versions = map[string]uint16{"": tls.VersionTLS12, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Validate finds what makes no sense, whatever is on the disk.
func (s *Settings) Validate() error {
	if len(s.Certificates) == 0 {
		return errors.New(`no certificate: write tls = { cert = "cert.pem", key = "key.pem" }`)
	}
	for _, f := range s.Certificates {
		if f.Order != nil {
			if err := f.Order.Check(); err != nil {
				return err
			}
		}
		if f.Cert == "" || f.Key == "" {
			return errors.New("cert and key need each other; if both are in one file, name it twice")
		}
	}
	if _, ok := versions[s.MinVersion]; !ok {
		return fmt.Errorf(`min_version %q: use "1.2" or "1.3"`, s.MinVersion)
	}
	return nil
}
