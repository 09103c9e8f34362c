package delivered

import (
	"encoding/binary"
	"errors"

	"github.com/pushd/pushd/worker/bus"
)

// Source is where publications are counted: a publisher's shard. Its numbers are 1, 2,
// 3 …, and what it publishes arrives in their order.
type Source struct {
	Publisher uint64
	Shard     uint8
}

// SourceOf returns the source of a publication.
func SourceOf(p *bus.Publication) Source { return Source{p.Publisher, p.Shard} }

// Vector says how far each source has been delivered. That of a hand-over has marked
// entries beside, under numbers that no shard has: see marks.go.
type Vector map[Source]uint64

// Has reports whether a connection that was at v has had p.
func (v Vector) Has(p *bus.Publication) bool { return p.Seq <= v[SourceOf(p)] }

// Entry is how many bytes each source of a vector takes in writing, behind four that
// count them.
const Entry = 8 + 1 + 8

// maxSources bounds a vector that is read; 4,096 workers and those before them have
// half of it.
const maxSources = 1 << 20

// ErrDamaged is what Parse says of bytes that are no vector.
var ErrDamaged = errors.New("vector is damaged")

// Append writes the vector behind dst, in no order.
func (v Vector) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
	for s, n := range v {
		dst = binary.BigEndian.AppendUint64(dst, s.Publisher)
		dst = append(dst, s.Shard)
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return dst
}

// Parse reads what Append has written, and returns what follows it. Memory is in
// proportion to b, whatever it says.
func Parse(b []byte) (v Vector, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, ErrDamaged
	}
	n := int(binary.BigEndian.Uint32(b))
	if b = b[4:]; n > min(len(b)/Entry, maxSources) {
		return nil, nil, ErrDamaged
	}
	v = make(Vector, n)
	for range n {
		v[Source{binary.BigEndian.Uint64(b), b[8]}] = binary.BigEndian.Uint64(b[9:])
		b = b[Entry:]
	}
	return v, b, nil
}
