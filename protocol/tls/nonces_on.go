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

// The limits of keys, as in nonces.go, which Early brings down.
var updateAfter, askAfter uint32 = 1 << 23, 1 << 24

// Early makes keys change after so few records, and clients be asked to change
// theirs. It is set before anything is sealed.
func Early(records uint32) { updateAfter, askAfter = records, records }

// OnUpdate, set before anything is sealed, is told when a direction has got another
// key: the client's, or ours. Any goroutine.
var OnUpdate func(clients bool)

func updated(clients bool) {
	if OnUpdate != nil {
		OnUpdate(clients)
	}
}

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
