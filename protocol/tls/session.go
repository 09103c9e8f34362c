package tls

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
)

// half is one direction. It keeps what its key is made of: whoever speaks has a
// cipher in the Ring, and whoever is silent should not pay for a key.
type half struct {
	seq    uint32 // of the next record under this key
	slot   uint16 // where the Ring had the cipher last
	suite  uint8  // index into suites
	flags  uint8
	secret [secretLen]byte // see material
}

// keyed is the cipher of a direction.
type keyed struct {
	cipher.AEAD
	iv [nonceLen]byte
}

// Flags of a direction. The low bits of in are how many records in a row have
// brought nothing.
const (
	flagShut  = 0x80 // no more records: the last one was received, or sealed
	flagOwes  = 0x40 // out: a KeyUpdate goes out before the next data
	flagAsked = 0x40 // in: the client was asked to change its key, and has not
	flagBye   = 0x20 // in: the last one was close_notify
	flagAsks  = 0x20 // out: that KeyUpdate asks the client for one
	idleMask  = 0x1f // in
)

const (
	// HeaderLen is how long the header of a record is.
	HeaderLen = 5

	maxPlain  = 1 << 14        // data of a record
	maxCipher = maxPlain + 256 // of a record, without its header

	// MaxRecord is the longest record that Open takes.
	MaxRecord = HeaderLen + maxCipher
	// MaxData is how much data a record can have.
	MaxData = maxPlain
	// MaxOverhead is what Seal adds to data of one record at most, a KeyUpdate
	// before it included.
	MaxOverhead = 64
)

// Types of records, and of the one handshake message that comes after a handshake.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
	messageKeyUpdate     = 24
)

func (h *half) kind() *suite { return &suites[h.suite] }

// adopt13 begins with a traffic secret of TLS 1.3. r may be nil where none has a
// cipher of h.
func (h *half) adopt13(r *Ring, secret []byte) {
	r.forget(h)
	copy(h.material(), secret)
	h.seq = 0
}

// adopt12 begins with the keys of TLS 1.2, behind the Finished message, which was
// record 0.
func (h *half) adopt12(key, iv []byte) {
	copy(h.material()[copy(h.material(), key):], iv)
	h.seq = 1
}

// keys returns what the next record is sealed with.
func (h *half) keys() (key []byte, iv [nonceLen]byte) {
	s, secret := h.kind(), h.material()
	if s.tls12 {
		copy(iv[:], secret[s.keyLen:])
		return bytes.Clone(secret[:s.keyLen]), iv
	}
	mac := hmac.New(s.hash, secret)
	copy(iv[:], expand(mac, "iv", nonceLen))
	return expand(mac, "key", s.keyLen), iv
}

// keyed makes the cipher of the next record.
func (h *half) keyed() keyed {
	key, iv := h.keys()
	defer clear(key)
	return keyed{h.kind().aead(key), iv}
}

// update goes on to the next generation of keys (RFC 8446, 7.2).
func (h *half) update(r *Ring) {
	s := h.kind()
	next := expand(hmac.New(s.hash, h.material()), "traffic upd", s.hashLen)
	h.adopt13(r, next)
	clear(next)
}

// nonce writes the nonce of the next record to dst.
func (h *half) nonce(dst *[nonceLen]byte, iv *[nonceLen]byte) []byte {
	*dst = *iv
	if h.kind().explicit() > 0 {
		binary.BigEndian.PutUint64(dst[4:], uint64(h.seq))
	} else {
		binary.BigEndian.PutUint64(dst[4:], binary.BigEndian.Uint64(dst[4:])^uint64(h.seq))
	}
	return dst[:]
}

// aad12 writes the additional data of a record of TLS 1.2 with n bytes of data.
func (h *half) aad12(dst *[13]byte, typ byte, n int) []byte {
	binary.BigEndian.PutUint64(dst[:8], uint64(h.seq))
	dst[8], dst[9], dst[10] = typ, 3, 3
	binary.BigEndian.PutUint16(dst[11:], uint16(n))
	return dst[:]
}

// open decrypts one record in place, and counts it. Nobody gets on to record 2^32 of
// a key: clients are asked for another one long before.
func (h *half) open(r *Ring, a *keyed, rec []byte) (typ byte, plain []byte, err error) {
	if h.kind().tls12 {
		typ, plain, err = h.open12(r, a, rec)
	} else {
		typ, plain, err = h.open13(r, a, rec)
	}
	if err == nil && len(plain) > maxPlain {
		err = Alert{Code: alertRecordOverflow}
	}
	if h.seq++; h.seq == 0 {
		err = Alert{Code: alertUnexpected}
	}
	return typ, plain, err
}

func (h *half) open12(r *Ring, a *keyed, rec []byte) (typ byte, plain []byte, err error) {
	body, n := rec[HeaderLen:], h.kind().explicit()
	if len(body) < n+tagLen {
		return 0, nil, Alert{Code: alertBadRecordMAC}
	}
	nonce := h.nonce(&r.nonce, &a.iv)
	copy(nonce[nonceLen-n:], body[:n])
	body = body[n:]
	aad := h.aad12(&r.aad, rec[0], len(body)-tagLen)
	if plain, err = a.Open(body[:0], nonce, body, aad); err != nil {
		return 0, nil, Alert{Code: alertBadRecordMAC}
	}
	return rec[0], plain, nil
}

func (h *half) open13(r *Ring, a *keyed, rec []byte) (typ byte, plain []byte, err error) {
	if rec[0] != typeData { // in the clear; a change_cipher_spec has no place after Finished either
		return 0, nil, Alert{Code: alertUnexpected}
	}
	body := rec[HeaderLen:]
	if plain, err = a.Open(body[:0], h.nonce(&r.nonce, &a.iv), body, rec[:HeaderLen]); err != nil {
		return 0, nil, Alert{Code: alertBadRecordMAC}
	}
	if len(plain) > maxPlain+1 {
		return 0, nil, Alert{Code: alertRecordOverflow}
	}
	n := len(plain)
	for n > 0 && plain[n-1] == 0 { // padding
		n--
	}
	if n == 0 {
		return 0, nil, Alert{Code: alertUnexpected}
	}
	return plain[n-1], plain[:n-1], nil
}

// seal appends one record with p, at most maxPlain bytes, and counts it.
func (h *half) seal(r *Ring, dst []byte, typ byte, p []byte) []byte {
	if h.seq == lastSeq {
		panic("tls: sequence number used up") // limits end a connection long before
	}
	s, at, a := h.kind(), len(dst), r.of(h)
	nonce := h.nonce(&r.nonce, &a.iv)
	sealing(h.material(), nonce)
	n := s.overhead() - HeaderLen + len(p)
	if s.tls12 {
		dst = append(dst, typ, 3, 3, byte(n>>8), byte(n))
		dst = append(dst, nonce[nonceLen-s.explicit():]...)
		dst = a.Seal(dst, nonce, p, h.aad12(&r.aad, typ, len(p)))
	} else {
		dst = append(dst, typeData, 3, 3, byte(n>>8), byte(n))
		dst = append(append(dst, p...), typ)
		dst = a.Seal(dst[:at+HeaderLen], nonce, dst[at+HeaderLen:], dst[at:at+HeaderLen])
	}
	h.seq++
	return dst
}

// String tells version and cipher: "1.3 AES128".
func (s *Session) String() string {
	k := s.in.kind()
	if k.tls12 {
		return "1.2 " + k.name()
	}
	return "1.3 " + k.name()
}

// Drop ends the use of s here and wipes it.
func (s *Session) Drop(r *Ring) {
	for _, h := range []*half{s.out(), &s.in} { // in last: where out is depends on it
		r.forget(h)
		clear(h.material())
		*h = half{}
	}
}
