package tls

// A Ring keeps the cipher objects of the directions that were used last: one of
// AES-GCM has 1,280 bytes, sixteen times what a Session has. It grows while its
// objects are thrown away faster than that is worth (a fan-out to thousands), and
// Calm gives it up. The zero value is ready.
type Ring struct {
	nonce [nonceLen]byte // what goes through cipher.AEAD would be allocated each time
	aad   [13]byte

	slots  []slot
	next   int // to be used again
	used   int // since Calm
	missed int // of these, those for which an object was made
}

type slot struct {
	owner *half
	keyed
}

const (
	minSlots = 64       // 80 KiB
	maxSlots = 16 << 10 // 20 MiB
	growFrom = 2048     // objects made between two calls of Calm
)

// of returns the cipher of h, until the next call.
func (r *Ring) of(h *half) *keyed {
	r.used++
	if i := int(h.slot); i < len(r.slots) && r.slots[i].owner == h {
		return &r.slots[i].keyed
	}
	if r.missed++; r.slots == nil {
		r.slots = make([]slot, minSlots)
	} else if n := len(r.slots); r.missed >= max(growFrom, 2*n) && n < maxSlots {
		r.slots, r.next = append(make([]slot, 0, 2*n), r.slots...)[:2*n], n
	}
	at := &r.slots[r.next]
	*at, h.slot = slot{h, h.keyed()}, uint16(r.next)
	r.next = (r.next + 1) % len(r.slots)
	return &at.keyed
}

// forget lets go of the cipher of h.
func (r *Ring) forget(h *half) {
	if r == nil {
		return
	}
	if i := int(h.slot); i < len(r.slots) && r.slots[i].owner == h {
		r.slots[i] = slot{}
	}
}

// Calm is for a call once a second: a ring that has grown and is hardly used is
// given up.
func (r *Ring) Calm() {
	if n := len(r.slots); n > minSlots && r.used < n/4 {
		r.slots, r.next = nil, 0
	}
	r.used, r.missed = 0, 0
}
