//go:build faults

package tls

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// Used is a key and a nonce, neither of which can be read from it.
type Used [16]byte

// OnSeal, set before anything is sealed, is told what each record is sealed
// under, to look for repetitions across processes. Any goroutine.
var OnSeal func(Used)

var seen struct {
	sync.Mutex
	pairs map[Used]bool
}

// sealing ends the process when it is about to use a nonce twice with a key.
func sealing(key, nonce []byte) {
	sum := sha256.Sum256(append(append([]byte(nil), key...), nonce...))
	u := Used(sum[:16])
	seen.Lock()
	defer seen.Unlock()
	if seen.pairs[u] {
		panic(fmt.Sprintf("tls: nonce %x is used twice with one key", nonce))
	}
	if seen.pairs == nil {
		seen.pairs = map[Used]bool{}
	}
	seen.pairs[u] = true
	if OnSeal != nil {
		OnSeal(u)
	}
}
