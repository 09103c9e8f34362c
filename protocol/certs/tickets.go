package certs

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// Ticket keys are three, of 32 bytes each: the current one, by which tickets are
// sealed, the next and the last one, which open tickets too. So processes need
// not change keys at the same moment, and a ticket opens for at least a day.
const (
	ticketKey  = 32
	ticketKeys = 3
)

// TicketDay is how long a key is the current one, in seconds of Unix time.
const TicketDay = 24 * 60 * 60

// NewTickets makes random ticket keys.
func NewTickets() []byte {
	keys := make([]byte, ticketKeys*ticketKey)
	rand.Read(keys)
	return keys
}

// NextTickets are the keys of the day after: the next one becomes the current
// one, and the current one the last.
func NextTickets(keys []byte) []byte {
	next := make([]byte, ticketKeys*ticketKey)
	copy(next, keys[ticketKey:2*ticketKey])
	rand.Read(next[ticketKey : 2*ticketKey])
	copy(next[2*ticketKey:], keys[:ticketKey])
	return next
}

// MinTicketSecret is how many bytes a secret of DeriveTickets has at least.
const MinTicketSecret = 32

// DeriveTickets makes the ticket keys of a day, counted from 1970, of a secret:
// the same on all machines that have it.
func DeriveTickets(secret []byte, day int64) ([]byte, error) {
	var keys []byte
	for _, d := range []int64{day, day + 1, day - 1} {
		key, err := hkdf.Key(sha256.New, secret, nil, fmt.Sprintf("pushd tls ticket key, day %d", d), ticketKey)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key...)
	}
	return keys, nil
}

func parseTickets(data []byte) (keys [][32]byte, err error) {
	if len(data) != ticketKeys*ticketKey {
		return nil, fmt.Errorf("ticket keys have %d bytes, not %d", len(data), ticketKeys*ticketKey)
	}
	for ; len(data) > 0; data = data[ticketKey:] {
		keys = append(keys, [32]byte(data))
	}
	return keys, nil
}
