package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// secret is a key that is compared in constant time. Only its hash is kept, so
// that neither its length shows in the comparison nor its text in a dump.
type secret [sha256.Size]byte

func newSecret(key string) secret { return sha256.Sum256([]byte(key)) }

func (s secret) is(key string) bool {
	given := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(s[:], given[:]) == 1
}

// String keeps even the hash out of logs.
func (secret) String() string { return "(secret)" }

// bearer returns the token of the Authorization header.
func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "bearer")
}
