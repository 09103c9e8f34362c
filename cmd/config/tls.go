package config

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/certs"
)

// tls reads `tls = { cert = "…", key = "…" }`, or a list of such tables, one for
// each certificate. What holds for all of them stands in one of the list. nil =
// there is none.
func (t *table) tls() *certs.Settings {
	v, ok := t.filed("tls")
	if !ok {
		return nil
	}
	s := &certs.Settings{}
	var all []*table
	if _, one := v.any.(map[string]any); one {
		all = []*table{t.sub("tls", "")}
	} else {
		all = t.subs("tls")
	}
	for _, e := range all {
		e.certificate(s)
		e.done()
	}
	if err := s.Validate(); err != nil {
		t.fail(v.at, "%v", err)
		return nil
	}
	t.sources(v.at, s)
	return s
}

// certificate reads one table of the list.
func (t *table) certificate(s *certs.Settings) {
	var f certs.Files
	t.abs("cert", &f.Cert)
	t.abs("key", &f.Key)
	if order := t.acme(); order != nil {
		if f.Cert != "" || f.Key != "" {
			t.fail(t.where("acme"), "a certificate is ordered, or in files: leave out acme, or cert and key")
		}
		f = certs.Files{Cert: order.File(), Key: order.File(), Order: order}
	}
	s.Certificates = append(s.Certificates, f)
	t.once("client_ca", &s.ClientCA, t.abs)
	t.once("min_version", &s.MinVersion, t.str)
	t.once("ticket_secret_file", &s.TicketSecretFile, t.abs)
}

// acme reads what is ordered of an authority; nil = nothing is.
func (t *table) acme() *certs.Order {
	o := &certs.Order{Dir: filepath.Join(t.dataDir, "acme")}
	t.list("acme", &o.Domains)
	for _, key := range []string{"email", "acme_directory", "acme_ca"} {
		if _, set := t.get(key); set && len(o.Domains) == 0 {
			t.fail(t.where(key), "is for certificates that are ordered: acme = [\"push.example.com\"]")
		}
	}
	t.str("email", &o.Email)
	t.str("acme_directory", &o.Directory)
	t.abs("acme_ca", &o.Roots)
	for i, d := range o.Domains {
		o.Domains[i] = strings.ToLower(d)
	}
	switch {
	case len(o.Domains) == 0:
		return nil
	case t.cluster:
		t.fail(t.where("acme"), "with [broker] url each machine would order for itself, and authorities allow few orders: "+
			"use certbot on one of them, copy the files, and name them as cert and key (they are taken over within a minute; or certbot's --deploy-hook runs `pushctl reload`)")
	}
	return o
}

// once reads a value that holds for a whole list and may be said once only.
func (t *table) once(key string, dst *string, read func(string, *string)) {
	value := ""
	read(key, &value)
	switch {
	case value == "":
	case *dst != "" && *dst != value:
		t.fail(t.where(key), "holds for the whole list, where another one has it already")
	default:
		*dst = value
	}
}

// look reads how often certificate files are looked at. It is no key, since the
// master begins with it before there is a plan.
func (t *table) look(c *Config) {
	const name = "PUSHD_TLS_LOOK"
	c.TLSLook = time.Minute
	text := t.env(name)
	if text == "" {
		return
	}
	d, err := parseDuration(text)
	if err == nil && d == 0 {
		err = errors.New("0 would be all the time")
	}
	if err != nil {
		t.fail(name, "%v", err)
		return
	}
	c.TLSLook = d
}

// sources notes where each file comes from.
func (r *reader) sources(at string, s *certs.Settings) {
	for _, src := range s.Sources() {
		if r.files == nil {
			r.files = map[string]string{}
		}
		if r.files[src.Name] == "" {
			r.files[src.Name] = at
		}
	}
}
