package tls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite is what a record layer needs to know of a cipher suite.
type suite struct {
	id      uint16
	tls12   bool
	chacha  bool
	keyLen  int
	hashLen int // of a traffic secret
	hash    func() hash.Hash
}

// suites are all that are carried on. A direction keeps an index into it, which
// never leaves the process.
var suites = [...]suite{
	{tls.TLS_AES_128_GCM_SHA256, false, false, 16, 32, sha256.New},
	{tls.TLS_AES_256_GCM_SHA384, false, false, 32, 48, sha512.New384},
	{tls.TLS_CHACHA20_POLY1305_SHA256, false, true, 32, 32, sha256.New},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true, false, 16, 32, sha256.New},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true, false, 16, 32, sha256.New},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, true, false, 32, 48, sha512.New384},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, true, false, 32, 48, sha512.New384},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, true, true, 32, 32, sha256.New},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, true, true, 32, 32, sha256.New},
}

const (
	nonceLen = 12
	tagLen   = 16 // of all AEAD ciphers here
)

// indexOf returns where a suite is in suites, -1 for one that is not.
func indexOf(id uint16) int {
	for i := range suites {
		if suites[i].id == id {
			return i
		}
	}
	return -1
}

// suites12 are those that TLS 1.2 clients are offered.
func suites12() (ids []uint16) {
	for i := range suites {
		if suites[i].tls12 {
			ids = append(ids, suites[i].id)
		}
	}
	return ids
}

// explicit is how many bytes of the nonce travel with each record: AES-GCM in
// TLS 1.2 (RFC 5288). All others make it of the sequence number.
func (s *suite) explicit() int {
	if s.tls12 && !s.chacha {
		return 8
	}
	return 0
}

// ivLen is how many bytes of the nonce come from the key exchange.
func (s *suite) ivLen() int { return nonceLen - s.explicit() }

// maxMaterial is the most that material says.
const maxMaterial = 48

// material is how many bytes a direction keeps of what its key is made of.
func (s *suite) material() int {
	if s.tls12 {
		return s.keyLen + s.ivLen()
	}
	return s.hashLen
}

// overhead is what a record has beside its data.
func (s *suite) overhead() int {
	n := HeaderLen + s.explicit() + tagLen
	if !s.tls12 {
		n++ // its type is inside
	}
	return n
}

// name is how people call the cipher.
func (s *suite) name() string {
	switch {
	case s.chacha:
		return "CHACHA20"
	case s.keyLen == 16:
		return "AES128"
	}
	return "AES256"
}

// aead makes the cipher of a key. It fails only where the process must not use
// the cipher at all (GODEBUG=fips140=only), which SelfTest finds out at the start.
func (s *suite) aead(key []byte) cipher.AEAD {
	var a cipher.AEAD
	var err error
	if s.chacha {
		a, err = chacha20poly1305.New(key)
	} else {
		var b cipher.Block
		if b, err = aes.NewCipher(key); err == nil {
			a, err = cipher.NewGCM(b)
		}
	}
	must(err)
	return a
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446, 7.1), of the secret of
// which mac is the HMAC, and no longer than its hash. crypto/hkdf begins a HMAC anew
// for each, which takes three times as long.
func expand(mac hash.Hash, label string, n int) []byte {
	const prefix, first = "tls13 ", 1
	info := append(make([]byte, 0, 32), 0, byte(n), byte(len(prefix)+len(label)))
	info = append(append(append(info, prefix...), label...), 0, first)
	mac.Reset()
	mac.Write(info)
	return mac.Sum(nil)[:n]
}

// prf is the pseudorandom function of TLS 1.2 (RFC 5246, 5).
func (s *suite) prf(secret []byte, label string, seed []byte, n int) (out []byte) {
	seed = append([]byte(label), seed...)
	mac := hmac.New(s.hash, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

// must panics where only a mistake of ours, or a forbidden cipher, is an error.
func must(err error) {
	if err != nil {
		panic("tls: " + err.Error())
	}
}
