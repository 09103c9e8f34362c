package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
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
}

// Source is something that Settings need of the disk, by the name under which a
// Store has it.
type Source struct {
	Name  string
	Kind  string
	Files []string // of KindPair certificate and key; of KindTickets the secret, none = random
}

// Kinds of Source.
const (
	KindPair    = "pair"
	KindRoots   = "roots"
	KindTickets = "tickets"
)

// Sources lists what s needs. nil settings need nothing.
func (s *Settings) Sources() (list []Source) {
	if s == nil {
		return nil
	}
	for _, f := range s.Certificates {
		list = append(list, Source{f.name(), KindPair, []string{f.Cert, f.Key}})
	}
	if s.ClientCA != "" {
		list = append(list, Source{s.rootsName(), KindRoots, []string{s.ClientCA}})
	}
	tickets := Source{Name: s.ticketsName(), Kind: KindTickets}
	if s.TicketSecretFile != "" {
		tickets.Files = []string{s.TicketSecretFile}
	}
	return append(list, tickets)
}

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
		if f.Cert == "" || f.Key == "" {
			return errors.New("cert and key need each other; if both are in one file, name it twice")
		}
	}
	if _, ok := versions[s.MinVersion]; !ok {
		return fmt.Errorf(`min_version %q: use "1.2" or "1.3"`, s.MinVersion)
	}
	return nil
}
