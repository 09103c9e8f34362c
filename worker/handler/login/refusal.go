package login

import (
	"log/slog"
	"sync"
	"time"
)

// A Refusal names what is wrong with a token. It says nothing of its content, so
// it may be logged.
type Refusal string

// What can be wrong.
const (
	RefusedForm      Refusal = "form"      // it is no JWT
	RefusedAlg       Refusal = "alg"       // the algorithm is not one of the keys'
	RefusedKey       Refusal = "kid"       // there is no key of that name
	RefusedSignature Refusal = "signature" //
	RefusedCritical  Refusal = "crit"      // its header demands what is not known here
	RefusedType      Refusal = "typ"       // it was made for something else
	RefusedIssuer    Refusal = "iss"
	RefusedAudience  Refusal = "aud"
	RefusedExpired   Refusal = "exp"
	RefusedEarly     Refusal = "nbf"
	RefusedClaims    Refusal = "claims" // one is not of its form
	RefusedScheme    Refusal = "scheme" // it came without encryption
)

// Error implements error.
func (r Refusal) Error() string { return "token refused: " + string(r) }

// Log tells an operator of tokens that were refused, once a second. The zero value
// is ready. Any goroutine.
type Log struct {
	mu   sync.Mutex
	next time.Time
	more int // refused since then
}

// Note logs a refusal of a route, with what is to be known beside it.
func (l *Log) Note(now time.Time, r Refusal, attrs ...any) {
	l.mu.Lock()
	if now.Before(l.next) {
		l.more++
		l.mu.Unlock()
		return
	}
	more := l.more
	l.next, l.more = now.Add(time.Second), 0
	l.mu.Unlock()
	slog.Warn("a token was refused", append([]any{"wrong", string(r), "more", more}, attrs...)...)
}
