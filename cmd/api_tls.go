package cmd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/certs"
)

func apiScheme(cfg *config.Config) string {
	if cfg.API.TLS != nil {
		return "https"
	}
	return "http"
}

// ownCertificates is what a command believes the API of its own config to be:
// one that has a certificate of the config, whatever name that is for, or
// another one that this machine trusts to be for the same name, as in the minute
// after a renewal.
func ownCertificates(s *certs.Settings) *tls.Config {
	if s == nil {
		return nil
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it: the address is not the name
		VerifyConnection: func(peer tls.ConnectionState) error {
			leaf := peer.PeerCertificates[0]
			var name string
			for _, f := range s.Certificates {
				own, err := firstCertificate(f.Cert)
				if errors.Is(err, os.ErrNotExist) && f.Order != nil {
					continue // none was issued yet
				}
				if err != nil {
					return err
				}
				if bytes.Equal(own.Raw, leaf.Raw) {
					return nil
				}
				if name == "" && len(own.DNSNames) > 0 {
					name = own.DNSNames[0]
				}
			}
			if name == "" {
				return errors.New("it has another certificate than the config names")
			}
			between := x509.NewCertPool()
			for _, c := range peer.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Intermediates: between})
			return err
		},
	}
}

// firstCertificate reads the certificate that a file begins with.
func firstCertificate(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return nil, fmt.Errorf("%s holds no certificate", path)
		}
		if b.Type == "CERTIFICATE" {
			return x509.ParseCertificate(b.Bytes)
		}
	}
}
