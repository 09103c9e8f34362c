package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxJWKS bounds a key set: bytes, and keys.
const (
	maxJWKS = 256 << 10
	maxKeys = 100
)

// webKey is a key of a set (RFC 7517).
type webKey struct {
	Kind  string   `json:"kty"`
	Use   string   `json:"use"`
	Ops   []string `json:"key_ops"`
	Alg   string   `json:"alg"`
	ID    string   `json:"kid"`
	Curve string   `json:"crv"`
	N     string   `json:"n"`
	E     string   `json:"e"`
	X     string   `json:"x"`
	Y     string   `json:"y"`
	K     string   `json:"k"`
}

// parseJWKS reads a key set. Keys of other kinds, and those that are not for
// signatures, are left out.
func parseJWKS(b []byte) (list []key, err error) {
	var s struct {
		Keys []webKey `json:"keys"`
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Keys == nil {
		return nil, errors.New(`is no key set: {"keys":[…]}, or its https:// URL`)
	}
	if len(s.Keys) > maxKeys {
		return nil, fmt.Errorf("has more than %d keys", maxKeys)
	}
	for i := range s.Keys {
		w := &s.Keys[i]
		if w.Use != "" && w.Use != "sig" || len(w.Ops) > 0 && !slices.Contains(w.Ops, "verify") && w.Kind != "oct" {
			continue
		}
		k, ok, err := w.key()
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if ok {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("has no key that signatures can be verified by")
	}
	return list, nil
}

func (w *webKey) key() (k key, ok bool, err error) {
	k.id = w.ID
	if w.Kind == "oct" {
		secret, err := base64.RawURLEncoding.DecodeString(w.K)
		if err != nil || len(secret) < 16 {
			return k, false, errors.New("a secret has at least 16 bytes")
		}
		k.key, k.algs = secret, []string{"HS256", "HS384", "HS512"}
	} else {
		public, err := w.public()
		if err != nil || public == nil {
			return k, false, err
		}
		k.key = public
		if k.algs, err = algorithmsOf(public); err != nil {
			return k, false, err
		}
	}
	if w.Alg != "" {
		if !slices.Contains(k.algs, w.Alg) {
			return k, false, nil // for something else, as PS256
		}
		k.algs = []string{w.Alg}
	}
	return k, true, nil
}

var errKey = errors.New("a number of it is malformed")

func (w *webKey) public() (any, error) {
	number := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return nil
		}
		return b
	}
	switch w.Kind {
	case "RSA":
		n, e := new(big.Int).SetBytes(number(w.N)), new(big.Int).SetBytes(number(w.E))
		if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || n.BitLen() > 16384 {
			return nil, errKey
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[w.Curve]
		if curve == nil {
			return nil, nil
		}
		x, y := number(w.X), number(w.Y)
		size := (curve.Params().BitSize + 7) / 8
		if len(x) != size || len(y) != size {
			return nil, errKey
		}
		return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	case "OKP":
		if w.Curve != "Ed25519" {
			return nil, nil
		}
		if x := number(w.X); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x), nil
		}
		return nil, errKey
	}
	return nil, nil
}

// remote is a key set that is fetched: when a process starts, every ten minutes
// when tokens come, and when a token names a key that is not known, at most every
// 30 s. Until it is there tokens are refused.
type remote struct {
	url    string
	client http.Client // of tests, else the default

	mu    sync.Mutex
	asked time.Time
	busy  bool
}

const (
	jwksWait  = 10 * time.Second
	jwksAgain = 30 * time.Second
	jwksAge   = 10 * time.Minute
)

// Start fetches the keys, if they come from a URL. For OnWorkerStart.
func (k *Keys) Start() { k.refresh() }

// Tend fetches them again when they are old. For each login.
func (k *Keys) Tend() {
	if r := k.remote; r != nil {
		r.mu.Lock()
		old := time.Since(r.asked) > jwksAge
		r.mu.Unlock()
		if old {
			k.refresh()
		}
	}
}

// refresh fetches the keys in a goroutine, unless that was just done.
func (k *Keys) refresh() {
	r := k.remote
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy || !r.asked.IsZero() && time.Since(r.asked) < jwksAgain {
		return
	}
	r.busy, r.asked = true, time.Now()
	go func() {
		list, err := r.fetch()
		if err != nil {
			slog.Warn("a key set could not be fetched: the keys of before hold", "url", r.url, "error", err)
		} else {
			k.use(list)
		}
		r.mu.Lock()
		r.busy = false
		r.mu.Unlock()
	}()
}

func (r *remote) fetch() ([]key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), jwksWait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", answer.Status)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	if err == nil && len(b) > maxJWKS {
		err = errors.New("it is over 256 KiB")
	}
	if err != nil {
		return nil, err
	}
	return parseJWKS(b)
}
