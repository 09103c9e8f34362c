package delivered

import (
	"hash/fnv"
	"maps"
)

// On several machines the two processes of a hand-over may hang on different servers
// of the bus, as when one has fled from a server and the other begins at the first of
// the list. Then what one hears and the other does not is no matter of who heard of
// it first: what the servers tell each other may be late, or lost. So the old worker
// says beside the vector, in entries under numbers that no shard has:
//
//   - how far its end of the bus had heard each source when the hand-over began. The
//     new one's end counts as a gap what lies between that and the first number that
//     it hears itself;
//   - how far it has followed the chains of history. Members of channels whose chain
//     begins later there join again from where they stood.
//
// A reader of a version before takes them for sources that it has not heard of, which
// costs it the skipping of what will not come.
const (
	markHeard = 0x80
	markChain = 0x40
)

// Heard names the entry of how far s was heard.
func (s Source) Heard() Source { return Source{s.Publisher, s.Shard | markHeard} }

// AppHash is by what an app is known in the entries of chains.
func AppHash(app string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(app))
	return h.Sum32()
}

// Chain names the entry of how far a shard of the chain of an app was followed.
func Chain(app string, epoch uint32, shard uint8) Source {
	return Source{uint64(AppHash(app))<<32 | uint64(epoch), shard | markChain}
}

// TakeHeard takes the entries of Heard out of v.
func (v Vector) TakeHeard() (heard Vector) {
	for s, n := range v {
		if s.Shard&markHeard == 0 {
			continue
		}
		if heard == nil {
			heard = Vector{}
		}
		delete(v, s)
		if s.Shard &^= markHeard; s.Shard < markChain {
			heard[s] = n
		}
	}
	return heard
}

// Merge takes in what has changed. Of a chain that is of another epoch now, what was said
// of the one before goes: who stands in the new one does not stand in that.
func (v Vector) Merge(changed Vector) {
	epochs := changed.Epochs()
	for s := range v {
		epoch, moved := epochs[uint32(s.Publisher>>32)]
		if s.Shard&(markHeard|markChain) == markChain && moved && epoch != uint32(s.Publisher) {
			delete(v, s)
		}
	}
	maps.Copy(v, changed)
}

// Epochs are those of the chains in v, by AppHash.
func (v Vector) Epochs() (all map[uint32]uint32) {
	for s := range v {
		if s.Shard&markChain != 0 {
			if all == nil {
				all = map[uint32]uint32{}
			}
			all[uint32(s.Publisher>>32)] = uint32(s.Publisher)
		}
	}
	return all
}
