package history

import (
	"encoding/binary"
	"errors"
)

// Words between the workers and the service that numbers. A publication goes to
// it as such; this is what goes beside.

// Want is who wants to join a channel, and what he has of it. Without a Conn it says
// that a message without a position has come in the channel.
type Want struct {
	Conn, Channel string
	After         Position // zero = nothing is to be recovered
	Last          int      // the newest messages that are wanted, when there is no position
	Room          int      // bytes that the answer may have, with MessageCost for each message
}

// wants is the first byte of a word that is a list of Want. Publications begin
// with another one.
const wants = 'J'

// errWord is a word that cannot be read.
var errWord = errors.New("word to the history is damaged")

// IsWants reports whether a word is a list of Want.
func IsWants(word []byte) bool { return len(word) > 0 && word[0] == wants }

// AppendWant appends to a word, which begins with the first one.
func AppendWant(word []byte, w *Want) []byte {
	if len(word) == 0 {
		word = append(word, wants)
	}
	word = appendString(appendString(word, w.Conn), w.Channel)
	word = binary.AppendUvarint(word, uint64(w.After.Epoch))
	word = binary.AppendUvarint(word, w.After.Offset)
	word = binary.AppendUvarint(word, uint64(w.Last))
	return binary.AppendUvarint(word, uint64(w.Room))
}

// EachWant calls visit for each of a word.
func EachWant(word []byte, visit func(w Want)) error {
	if !IsWants(word) {
		return errWord
	}
	r := reader{b: word[1:]}
	for len(r.b) > 0 {
		w := Want{Conn: r.string(), Channel: r.string()}
		w.After = Position{Epoch(r.uvarint()), r.uvarint()}
		w.Last, w.Room = int(r.uvarint()), int(r.uvarint())
		if r.bad || w.Last < 0 || w.Room < 0 {
			return errWord
		}
		visit(w)
	}
	return nil
}

// Reply is what the service says to those who want the same.
type Reply struct {
	Reason   Reason
	Position        // behind all that was numbered in the app
	Shard    uint64 // the newest offset of the channel's shard
	Want            // who is answered: what all of them want alike
	Messages []byte // see EachMessage
	Count    int
}

// AppendReply encodes a reply to w with the messages of a.
func AppendReply(dst []byte, w *Want, a *Answer, shard uint64) []byte {
	dst = append(dst, byte(a.Reason))
	for _, n := range []uint64{uint64(w.After.Epoch), w.After.Offset, uint64(w.Last), uint64(w.Room)} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = binary.AppendUvarint(dst, uint64(a.Epoch))
	dst = binary.AppendUvarint(dst, a.Offset)
	dst = binary.AppendUvarint(dst, shard)
	dst = binary.AppendUvarint(dst, uint64(a.Messages))
	return append(dst, a.records...)
}

// ParseReply undoes AppendReply. The messages are part of b.
func ParseReply(b []byte) (p Reply, err error) {
	if len(b) == 0 {
		return p, errWord
	}
	r := reader{b: b[1:]}
	p.Reason = Reason(b[0])
	p.After = Position{Epoch(r.uvarint()), r.uvarint()}
	p.Last, p.Room = int(r.uvarint()), int(r.uvarint())
	p.Position = Position{Epoch(r.uvarint()), r.uvarint()}
	p.Shard, p.Count = r.uvarint(), int(r.uvarint())
	p.Messages = r.b
	n := 0
	for m := r.b; len(m) > 0 && !r.bad; n++ {
		m = m[readable(m, &r.bad):]
	}
	if r.bad || n != p.Count {
		return Reply{}, errWord
	}
	return p, nil
}

// readable returns the size of the record that b begins with, and sets bad if it
// is damaged.
func readable(b []byte, bad *bool) int {
	r := reader{b: b}
	r.uvarint()
	r.uvarint()
	n := r.uvarint()
	if r.bad || n >= uint64(len(r.b)) {
		*bad = true
		return len(b)
	}
	return len(b) - len(r.b) + 1 + int(n)
}

// EachMessage calls visit for each message of the reply.
func (p *Reply) EachMessage(visit func(m Message)) {
	a := Answer{records: p.Messages}
	a.Each(visit)
}

// Stand is where the sequence of an app is, for those who follow it: an epoch,
// the newest offset in each shard that has one, and that of all, of which there may
// be nothing any more. Without an epoch it says that nothing can be numbered now, in
// any app.
type Stand struct {
	App    string
	Epoch  Epoch
	Shards map[uint8]uint64
	Offset uint64
}

// allShards stands for the offset of all in a list of shards. A reader of a version
// before takes it for a shard that nobody asks for.
const allShards = 0xff

// AppendStand appends to a list.
func AppendStand(dst []byte, s *Stand) []byte {
	dst = appendString(dst, s.App)
	dst = binary.AppendUvarint(dst, uint64(s.Epoch))
	dst = binary.AppendUvarint(dst, uint64(len(s.Shards))+1)
	dst = binary.AppendUvarint(append(dst, allShards), s.Offset)
	for shard, offset := range s.Shards {
		dst = binary.AppendUvarint(append(dst, shard), offset)
	}
	return dst
}

// EachStand calls visit for each of a list.
func EachStand(b []byte, visit func(s Stand)) error {
	r := reader{b: b}
	for len(r.b) > 0 {
		s := Stand{App: r.string(), Epoch: Epoch(r.uvarint()), Shards: map[uint8]uint64{}}
		for n := r.uvarint(); n > 0 && !r.bad; n-- {
			s.Shards[r.byte()] = r.uvarint()
		}
		s.Offset = s.Shards[allShards]
		delete(s.Shards, allShards)
		if r.bad {
			return errWord
		}
		visit(s)
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader consumes b from the front; bad sticks once something was missing.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() (b byte) {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	b, r.b = r.b[0], r.b[1:]
	return b
}

// skip goes past a string.
func (r *reader) skip() {
	if n := r.uvarint(); n > uint64(len(r.b)) {
		r.fail()
	} else {
		r.b = r.b[n:]
	}
}

func (r *reader) string() (s string) {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s, r.b = string(r.b[:n]), r.b[n:]
	return s
}
