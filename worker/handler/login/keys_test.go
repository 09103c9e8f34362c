package login

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signers are a key of each kind.
type signers struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newSigners(t testing.TB) (s signers) {
	t.Helper()
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if s.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, s.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return s
}

func public(t testing.TB, keys ...crypto.Signer) string {
	t.Helper()
	var b bytes.Buffer
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		_ = pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	return b.String()
}

func signed(t testing.TB, m jwt.SigningMethod, header map[string]any, claims jwt.MapClaims, key any) string {
	t.Helper()
	tok := jwt.NewWithClaims(m, claims)
	for name, value := range header {
		tok.Header[name] = value
	}
	raw, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func keysOf(t testing.TB, o KeyOptions) *Keys {
	t.Helper()
	k, err := NewKeys(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Each kind of key with each of its algorithms, and what every other key says to
// such a token.
func TestKeys(t *testing.T) {
	s := newSigners(t)
	good := map[string]*Keys{
		"HS": keysOf(t, KeyOptions{Secret: secret}), "RS": keysOf(t, KeyOptions{PublicKey: public(t, s.rsa)}),
		"ES": keysOf(t, KeyOptions{PublicKey: public(t, s.ec)}), "Ed": keysOf(t, KeyOptions{PublicKey: public(t, s.ed)}),
	}
	all := keysOf(t, KeyOptions{Secret: secret, PublicKey: public(t, s.rsa, s.ec, s.ed)})
	for alg, key := range map[string]any{"HS256": []byte(secret), "RS256": s.rsa, "RS512": s.rsa, "ES256": s.ec, "EdDSA": s.ed} {
		raw := signed(t, jwt.GetSigningMethod(alg), map[string]any{"typ": "AT+jwt"}, jwt.MapClaims{"sub": "42"}, key)
		if typ, claims, err := all.Verify(raw); err != nil || typ != "at+jwt" || string(claims) != `{"sub":"42"}` {
			t.Errorf("%s: %q, %s, %v", alg, typ, claims, err)
		}
		for kind, k := range good {
			want := error(RefusedAlg)
			if strings.HasPrefix(alg, kind) {
				want = nil
			}
			if _, _, err := k.Verify(raw); err != want {
				t.Errorf("%s by %s: %v", alg, kind, err)
			}
		}
	}
}

// What forgers try: no algorithm, a public key as a secret, a key of their own in
// the header, another's signature, a header that demands what is not known.
func TestForged(t *testing.T) {
	s, theirs := newSigners(t), newSigners(t)
	pemText := public(t, s.rsa)
	rs := keysOf(t, KeyOptions{PublicKey: pemText})
	der, _ := pem.Decode([]byte(pemText))
	claims := jwt.MapClaims{"sub": "42"}
	head := func(h string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(h)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"42"}`)) + "."
	}
	good := signed(t, jwt.SigningMethodRS256, nil, claims, s.rsa)
	for name, c := range map[string]struct {
		raw  string
		want Refusal
	}{
		"none":              {signed(t, jwt.SigningMethodNone, nil, claims, jwt.UnsafeAllowNoneSignatureType), RefusedAlg},
		"None":              {head(`{"alg":"None"}`), RefusedAlg},
		"no alg":            {head(`{"typ":"JWT"}`), RefusedAlg},
		"PEM as HS":         {signed(t, jwt.SigningMethodHS256, nil, claims, []byte(pemText)), RefusedAlg},
		"DER as HS":         {signed(t, jwt.SigningMethodHS256, nil, claims, der.Bytes), RefusedAlg},
		"another's":         {signed(t, jwt.SigningMethodRS256, nil, claims, theirs.rsa), RefusedSignature},
		"its own key":       {signed(t, jwt.SigningMethodRS256, map[string]any{"jwk": map[string]string{"kty": "RSA"}, "jku": "https://example.com"}, claims, theirs.rsa), RefusedSignature},
		"crit":              {signed(t, jwt.SigningMethodRS256, map[string]any{"crit": []string{"x"}}, claims, s.rsa), RefusedCritical},
		"changed claims":    {good[:strings.Index(good, ".")+1] + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"43"}`)) + good[strings.LastIndex(good, "."):], RefusedSignature},
		"without signature": {good[:strings.LastIndex(good, ".")+1], RefusedSignature},
		"two parts":         {good[:strings.LastIndex(good, ".")], RefusedForm},
		"garbage":           {"garbage", RefusedForm},
		"empty":             {"", RefusedForm},
	} {
		if _, _, err := rs.Verify(c.raw); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := rs.Verify(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestKeysRefused(t *testing.T) {
	s := newSigners(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("this Go makes no short key to try: %v", err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(s.ed)
	for name, o := range map[string]KeyOptions{
		"short secret": {Secret: "short"}, "placeholder": {Secret: "<your secret here, please>"},
		"no PEM": {PublicKey: "x"}, "a short RSA key": {PublicKey: public(t, short)}, "something behind": {PublicKey: public(t, s.ed) + "x"},
		"a private key": {PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))},
		"no set":        {JWKS: "{}"}, "an empty set": {JWKS: `{"keys":[]}`}, "plain http": {JWKS: "http://example.com/jwks"},
		"no point":       {JWKS: `{"keys":[{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}]}`},
		"exponent 1":     {JWKS: `{"keys":[{"kty":"RSA","n":"` + strings.Repeat("_", 342) + `","e":"AQ"}]}`},
		"too many":       {JWKS: `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"x"},`, maxKeys+1), ",") + `]}`},
		"a short secret": {JWKS: `{"keys":[{"kty":"oct","k":"AAAA"}]}`},
	} {
		if _, err := NewKeys(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// jwksOf is a set with the keys, by their kinds as names.
func jwksOf(s signers) string {
	b64 := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	point, _ := s.ec.PublicKey.Bytes()
	set := map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": b64(s.rsa.N.Bytes()), "e": b64(big.NewInt(int64(s.rsa.E)).Bytes())},
		{"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(s.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": b64(s.ed.Public().(ed25519.PublicKey))},
		{"kty": "OKP", "crv": "X25519", "x": "AA"}, {"kty": "later"},
	}}
	b, _ := json.Marshal(set)
	return string(b)
}

func TestJWKS(t *testing.T) {
	s := newSigners(t)
	k := keysOf(t, KeyOptions{JWKS: jwksOf(s)})
	claims := jwt.MapClaims{"sub": "42"}
	for _, c := range []struct {
		raw  string
		want error
	}{
		{signed(t, jwt.SigningMethodRS256, map[string]any{"kid": "r"}, claims, s.rsa), nil},
		{signed(t, jwt.SigningMethodRS256, nil, claims, s.rsa), nil},
		{signed(t, jwt.SigningMethodES256, map[string]any{"kid": "e"}, claims, s.ec), nil},
		{signed(t, jwt.SigningMethodEdDSA, map[string]any{"kid": "o"}, claims, s.ed), nil},
		{signed(t, jwt.SigningMethodRS512, map[string]any{"kid": "r"}, claims, s.rsa), RefusedAlg}, // the set says RS256
		{signed(t, jwt.SigningMethodRS256, map[string]any{"kid": "enc"}, claims, s.rsa), RefusedKey},
		{signed(t, jwt.SigningMethodEdDSA, map[string]any{"kid": "r"}, claims, s.ed), RefusedKey},
	} {
		if _, _, err := k.Verify(c.raw); err != c.want {
			t.Errorf("%s: %v, want %v", c.raw[:20], err, c.want)
		}
	}
}

// A key is tried with its own algorithms, though another one of the set has more.
func TestAlgorithmsOfAKey(t *testing.T) {
	s, other := newSigners(t), newSigners(t)
	narrow, wide := jwksOf(s), strings.ReplaceAll(strings.ReplaceAll(jwksOf(other), `"alg":"RS256",`, ""), `"kid":"r"`, `"kid":"r2"`)
	k := keysOf(t, KeyOptions{JWKS: strings.TrimSuffix(narrow, "]}") + "," + strings.TrimPrefix(wide, `{"keys":[`), Secret: secret, PublicKey: public(t, other.ec)})
	for _, kid := range []map[string]any{nil, {"kid": "r"}} {
		if _, _, err := k.Verify(signed(t, jwt.SigningMethodRS512, kid, jwt.MapClaims{}, s.rsa)); err == nil {
			t.Errorf("%v: RS512 is taken of a key for RS256", kid)
		}
	}
	if _, _, err := k.Verify(signed(t, jwt.SigningMethodRS512, map[string]any{"kid": "r2"}, jwt.MapClaims{}, other.rsa)); err != nil {
		t.Error(err)
	}
}

// A set that is fetched: refused until it is there, renewed when a token names a
// key that is not known, and what cannot be fetched leaves the keys of before.
func TestJWKSFetched(t *testing.T) {
	s, later := newSigners(t), newSigners(t)
	var set atomic.Value
	set.Store(jwksOf(s))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set.Load().(string))) }))
	defer server.Close()
	k := keysOf(t, KeyOptions{JWKS: server.URL})
	k.remote.client = *server.Client()
	raw := signed(t, jwt.SigningMethodEdDSA, map[string]any{"kid": "o"}, jwt.MapClaims{}, s.ed)
	if _, _, err := k.Verify(raw); err != RefusedAlg {
		t.Fatalf("before there are keys: %v", err)
	}
	k.Start()
	await := func(raw string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, _, err := k.Verify(raw); err == nil {
				return
			} else if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	await(raw)
	set.Store(strings.ReplaceAll(jwksOf(later), `"o"`, `"o2"`))
	k.remote.mu.Lock()
	k.remote.asked = time.Now().Add(-time.Minute)
	k.remote.mu.Unlock()
	await(signed(t, jwt.SigningMethodEdDSA, map[string]any{"kid": "o2"}, jwt.MapClaims{}, later.ed))
	set.Store("{}")
	if _, err := k.remote.fetch(); err == nil {
		t.Error("a set without keys is taken")
	}
}

// A refusal is logged once a second, by what was wrong and nothing of the token.
func TestRefusalLog(t *testing.T) {
	var b bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	defer slog.SetDefault(old)
	var l Log
	now := time.Unix(1000, 0)
	for i := range 5 {
		l.Note(now.Add(time.Duration(i)*100*time.Millisecond), RefusedAudience, "path", "/x")
	}
	l.Note(now.Add(2*time.Second), RefusedScheme)
	if got := b.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "wrong=aud") || !strings.Contains(got, "wrong=scheme more=4") {
		t.Error(got)
	}
}

// Whatever a set has in it: no panic.
func FuzzJWKS(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","n":"AA","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, s string) { _, _ = parseJWKS([]byte(s)) })
}
