package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// The envelope is a publication on the bus, big endian:
//
//	version 1 · kind 1 · scope 1 · flags 1 · shard 1 · publisher 8
//	seq uvarint · code 2 (if flagged) · target
//	except count uvarint, each (if flagged) · conns count uvarint, each (if flagged)
//	epoch 4 · offset uvarint · prev uvarint · before uvarint (if flagged: Stamp)
//	key · version uvarint (if flagged: Order, in words to a service)
//	data: the rest
//
// target and each except and conn are a uvarint length and its bytes. Reply travels as
// the reply subject of the NATS message.
const (
	envelopeVersion = 1
	envelopeFixed   = 13 // bytes before seq

	// MaxEnvelope is the longest publication in bytes, encoded: 1 MiB of data
	// and its addressing. A cluster with a smaller max_payload lowers it.
	MaxEnvelope = 1<<20 + 64<<10
)

const (
	flagBinary byte = 1 << iota
	flagCode
	flagExcept
	flagConns
	flagStamp
	flagOrder

	flagsKnown = flagBinary | flagCode | flagExcept | flagConns | flagStamp | flagOrder
)

// kindPosition announces the last sequence number that a publisher has used in
// a shard, so that a loss at the end of a burst shows without a next message.
// It never leaves this package.
const kindPosition worker.Kind = 0

// wholeTarget marks the position of shard 0 that a publisher announces last: in
// the shards that it has announced nothing of, it has sent nothing so far. A
// receiver that has heard this notices the loss of even the first number of a
// shard. Its Data repeats the positions of all shards, so that a receiver that
// has lost the others needs no more than this one.
const wholeTarget = "whole"

// appendPositions appends shard and number of each shard that has one.
func appendPositions(b []byte, seq *[worker.Shards]uint64) []byte {
	for shard, n := range seq {
		if n > 0 {
			b = binary.AppendUvarint(append(b, byte(shard)), n)
		}
	}
	return b
}

// parsePositions calls each for what appendPositions has written; it stops at
// what it cannot read.
func parsePositions(b []byte, each func(shard uint8, seq uint64)) {
	for len(b) > 0 && b[0] < worker.Shards {
		r := reader{b: b[1:]}
		seq := r.uvarint()
		if r.bad || seq == 0 {
			return
		}
		each(b[0], seq)
		b = r.b
	}
}

// ageMark stands behind the positions, in the place of a shard: what follows is how
// many milliseconds ago the publisher began. Readers of the version before stop there.
const ageMark = 0xff

func appendAge(b []byte, age time.Duration) []byte {
	return binary.AppendUvarint(append(b, ageMark), uint64(age.Milliseconds()))
}

// parseAge finds what appendAge has written behind positions.
func parseAge(b []byte) (age time.Duration, ok bool) {
	for len(b) > 0 {
		r := reader{b: b[1:]}
		n := r.uvarint()
		switch {
		case r.bad:
			return 0, false
		case b[0] == ageMark:
			return time.Duration(min(n, uint64(maxAge/time.Millisecond))) * time.Millisecond, true
		}
		b = r.b
	}
	return 0, false
}

const maxAge = 100 * 365 * 24 * time.Hour // no process is older; more is nonsense

var errEnvelope = errors.New("malformed envelope")

// appendEnvelope appends the encoded p to b.
func appendEnvelope(b []byte, p *worker.Publication) []byte {
	var flags byte
	if p.Binary {
		flags |= flagBinary
	}
	if p.Code != 0 {
		flags |= flagCode
	}
	if len(p.Except) > 0 {
		flags |= flagExcept
	}
	if len(p.Conns) > 0 {
		flags |= flagConns
	}
	if p.Stamp != nil {
		flags |= flagStamp
	}
	if p.Order != nil {
		flags |= flagOrder
	}
	b = append(b, envelopeVersion, byte(p.Kind), byte(p.Scope), flags, p.Shard)
	b = binary.BigEndian.AppendUint64(b, p.Publisher)
	b = binary.AppendUvarint(b, p.Seq)
	if flags&flagCode != 0 {
		b = binary.BigEndian.AppendUint16(b, p.Code)
	}
	b = appendString(b, p.Target)
	if flags&flagExcept != 0 {
		b = appendStrings(b, p.Except)
	}
	if flags&flagConns != 0 {
		b = appendStrings(b, p.Conns)
	}
	if s := p.Stamp; s != nil {
		b = binary.BigEndian.AppendUint32(b, uint32(s.Epoch))
		for _, n := range []uint64{s.Offset, s.Prev, s.Before} {
			b = binary.AppendUvarint(b, n)
		}
	}
	if o := p.Order; o != nil {
		b = binary.AppendUvarint(appendString(b, o.Key), o.Version)
	}
	return append(b, p.Data...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// envelopeSize returns an upper bound of the encoded size of p in bytes.
func envelopeSize(p *worker.Publication) int {
	n := envelopeFixed + 2 + 4*binary.MaxVarintLen64 + len(p.Target) + len(p.Data)
	if p.Stamp != nil {
		n += 4 + 3*binary.MaxVarintLen64
	}
	if p.Order != nil {
		n += len(p.Order.Key) + 2*binary.MaxVarintLen64
	}
	for _, list := range [][]string{p.Except, p.Conns} {
		for _, id := range list {
			n += binary.MaxVarintLen32 + len(id)
		}
	}
	return n
}

// parseEnvelope decodes b. The Data of the result refers to b, which must not
// change any more. A kind or scope that this version does not know is passed
// on, so that sequences stay whole; the worker ignores it.
func parseEnvelope(b []byte) (worker.Publication, error) {
	var p worker.Publication
	if len(b) < envelopeFixed {
		return p, fmt.Errorf("%w: %d bytes", errEnvelope, len(b))
	}
	if b[0] != envelopeVersion {
		return p, fmt.Errorf("%w: version %d, this program knows %d", errEnvelope, b[0], envelopeVersion)
	}
	flags := b[3]
	if flags&^flagsKnown != 0 || b[4] >= worker.Shards {
		return p, fmt.Errorf("%w: flags %#x, shard %d", errEnvelope, flags, b[4])
	}
	p.Kind, p.Scope, p.Shard = worker.Kind(b[1]), worker.Scope(b[2]), b[4]
	p.Binary = flags&flagBinary != 0
	p.Publisher = binary.BigEndian.Uint64(b[5:])

	r := reader{b: b[envelopeFixed:]}
	p.Seq = r.uvarint()
	if flags&flagCode != 0 {
		p.Code = r.uint16()
	}
	p.Target = r.string()
	if flags&flagExcept != 0 {
		p.Except = r.strings()
	}
	if flags&flagConns != 0 {
		p.Conns = r.strings()
	}
	if flags&flagStamp != 0 {
		p.Stamp = r.stamp()
	}
	if flags&flagOrder != 0 {
		p.Order = &worker.Order{Key: r.string(), Version: r.uvarint()}
	}
	if r.bad {
		return worker.Publication{}, fmt.Errorf("%w: truncated at %d bytes", errEnvelope, len(b))
	}
	if p.Seq == 0 {
		return worker.Publication{}, fmt.Errorf("%w: sequence number 0", errEnvelope)
	}
	p.Data = r.b
	return p, nil
}

// reader consumes b from the front; bad sticks once something was missing.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) stamp() *worker.Stamp {
	s := new(worker.Stamp)
	s.Epoch = history.Epoch(uint32(r.uint16())<<16 | uint32(r.uint16()))
	s.Offset, s.Prev, s.Before = r.uvarint(), r.uvarint(), r.uvarint()
	return s
}

func (r *reader) uint16() uint16 {
	if len(r.b) < 2 {
		r.bad, r.b = true, nil
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// strings reads a counted list. Each entry takes at least one byte, which
// bounds what a forged count can make us allocate.
func (r *reader) strings() []string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	list := make([]string, 0, n)
	for ; n > 0 && !r.bad; n-- {
		list = append(list, r.string())
	}
	return list
}
