package login

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/worker"
)

// KeyOptions say by what tokens are verified; part of a route's options. Without
// any there are no tokens.
type KeyOptions struct {
	Secret    string `json:"secret"`     // HS256; at least 16 bytes
	PublicKey string `json:"public_key"` // PEM, one or several: RS256…, ES256…, EdDSA, by the key's kind
	JWKS      string `json:"jwks"`       // a JSON Web Key Set, or the https:// URL of one
}

// Any reports whether there are keys.
func (o *KeyOptions) Any() bool { return o.Secret != "" || o.PublicKey != "" || o.JWKS != "" }

// Keys verify the signatures of tokens. Which algorithms are taken follows from
// the keys, never from the token: a key is tried with the algorithms of its own
// kind alone, so that a public key is no secret of HS256.
type Keys struct {
	fixed  []key
	parser atomic.Pointer[set] // fixed, and those that were fetched
	remote *remote             // nil: there is no URL
}

// set is what holds at a time.
type set struct {
	keys   []key
	parser *jwt.Parser
}

type key struct {
	id   string // kid, "" = none
	algs []string
	key  any
}

// minRSA is the shortest RSA key, in bits.
const minRSA = 2048

// NewKeys reads the keys of a route.
func NewKeys(o KeyOptions) (*Keys, error) {
	k := &Keys{}
	if o.Secret != "" {
		if err := worker.CheckSecret(o.Secret, worker.MinSecret); err != nil {
			return nil, fmt.Errorf("options: secret: %w", err)
		}
		k.fixed = append(k.fixed, key{algs: []string{"HS256"}, key: []byte(o.Secret)})
	}
	list, err := parsePEM(o.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("options: public_key: %w", err)
	}
	k.fixed = append(k.fixed, list...)
	switch {
	case o.JWKS == "":
	case strings.HasPrefix(o.JWKS, "https://"):
		k.remote = &remote{url: o.JWKS}
	default:
		if list, err = parseJWKS([]byte(o.JWKS)); err != nil {
			return nil, fmt.Errorf("options: jwks: %w", err)
		}
		k.fixed = append(k.fixed, list...)
	}
	k.use(nil)
	return k, nil
}

// use takes the keys that were fetched beside the fixed ones. Any goroutine.
func (k *Keys) use(fetched []key) {
	s := &set{keys: slices.Concat(k.fixed, fetched)}
	algs := []string{"-"} // an empty list would be no list
	for i := range s.keys {
		algs = append(algs, s.keys[i].algs...)
	}
	s.parser = jwt.NewParser(jwt.WithValidMethods(algs), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	k.parser.Store(s)
}

// parsePEM reads public keys and certificates.
func parsePEM(text string) (list []key, err error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		public, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		algs, err := algorithmsOf(public)
		if err != nil {
			return nil, err
		}
		list = append(list, key{algs: algs, key: public})
	}
	if len(list) == 0 && text != "" || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("is no PEM of a public key (-----BEGIN PUBLIC KEY-----)")
	}
	return list, nil
}

func parseBlock(b *pem.Block) (any, error) {
	switch b.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(b.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	}
	return nil, fmt.Errorf("a PEM block %q is no public key: the private one stays where tokens are made", b.Type)
}

// algorithmsOf returns what a public key may verify.
func algorithmsOf(public any) ([]string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("an RSA key has %d bits, needs at least %d", k.N.BitLen(), minRSA)
		}
		return []string{"RS256", "RS384", "RS512"}, nil
	case *ecdsa.PublicKey:
		if alg := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]; alg != "" {
			return []string{alg}, nil
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("a key of the kind %T is not known here", public)
}

// payload is the claims of a token as they were signed.
type payload struct {
	json.RawMessage
	jwt.RegisteredClaims // which nobody looks at: it makes payload one of the parser's
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *payload) UnmarshalJSON(b []byte) error { return p.RawMessage.UnmarshalJSON(b) }

// Verify checks the signature of a token and returns the type that its header has,
// in lower case, and its claims. The error is a Refusal. Any goroutine.
func (k *Keys) Verify(raw string) (typ string, claims json.RawMessage, err error) {
	s := k.parser.Load()
	var p payload
	t, err := s.parser.ParseWithClaims(raw, &p, s.candidates)
	var refusal Refusal
	switch {
	case err == nil:
	case errors.As(err, &refusal):
		if refusal == RefusedKey {
			k.refresh()
		}
		return "", nil, refusal
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "", nil, RefusedForm
	default:
		return "", nil, whyNot(s, raw)
	}
	name, _ := t.Header["typ"].(string)
	return strings.TrimPrefix(strings.ToLower(name), "application/"), p.RawMessage, nil
}

// candidates returns the keys that may have signed a token.
func (s *set) candidates(t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok { // RFC 7515, section 4.1.11
		return nil, RefusedCritical
	}
	id, _ := t.Header["kid"].(string)
	var found jwt.VerificationKeySet
	for i := range s.keys {
		if k := &s.keys[i]; slices.Contains(k.algs, t.Method.Alg()) && (k.id == "" || id == "" || k.id == id) {
			found.Keys = append(found.Keys, k.key)
		}
	}
	if len(found.Keys) == 0 {
		return nil, RefusedKey
	}
	return found, nil
}

// whyNot tells a signature that is wrong from an algorithm that is.
func whyNot(s *set, raw string) Refusal {
	t, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		return RefusedAlg
	}
	for i := range s.keys {
		if slices.Contains(s.keys[i].algs, t.Method.Alg()) {
			return RefusedSignature
		}
	}
	return RefusedAlg
}
