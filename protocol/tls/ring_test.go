package tls

import (
	"crypto/tls"
	"testing"
)

// TestRingGrowsAndIsGivenUp: a fan-out to many finds their ciphers the third
// time; a few that come again and again do not make it grow, and calm ends it.
func TestRingGrowsAndIsGivenUp(t *testing.T) {
	r := &Ring{}
	many := make([]*Session, 5000)
	for i := range many {
		many[i], _ = two(tls.TLS_AES_128_GCM_SHA256)
	}
	var buf []byte
	msg := []byte("x")
	fan := func(to []*Session) (made int) {
		before := r.missed
		for _, s := range to {
			var err error
			buf, err = s.Seal(r, buf[:0], msg)
			check(t, err)
		}
		return r.missed - before
	}
	for range 10 {
		if fan(many[:500]); len(r.slots) != minSlots {
			t.Fatalf("500 a second made the ring %d", len(r.slots))
		}
		r.Calm()
	}
	for range 3 {
		fan(many)
	}
	if n := fan(many); n != 0 {
		t.Errorf("%d ciphers were made for a fan-out that had been", n)
	}
	r.Calm()
	if n := fan(many); n != 0 {
		t.Error("a busy ring was given up")
	}
	r.Calm()
	if r.Calm(); r.slots != nil {
		t.Error("a calm ring was kept")
	}
	fan(many[:1])
}

func TestRingForgets(t *testing.T) {
	r := &Ring{}
	a, _ := two(tls.TLS_AES_128_GCM_SHA256)
	_, _ = a.Seal(r, nil, []byte("x"))
	before := r.missed
	a.out().update(r) // another key under the same address
	if _, _ = a.Seal(r, nil, []byte("x")); r.missed != before+1 {
		t.Error("the cipher of the key before was used")
	}
}
