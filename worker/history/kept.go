package history

import (
	"cmp"
	"slices"
)

// Kept is the newest message of a channel as one node tells it to another, where each
// numbers for itself.
type Kept struct {
	Channel string
	Kind    byte
	Time    int64 // milliseconds
	Data    []byte
}

// AppendKept appends to a list.
func AppendKept(b []byte, k *Kept) []byte {
	b = append(appendString(b, k.Channel), k.Kind)
	b = numbers(b, uint64(k.Time), uint64(len(k.Data)))
	return append(b, k.Data...)
}

// EachKept calls visit for each of a list, of which the data is part.
func EachKept(list []byte, visit func(k Kept)) error {
	r := reader{b: list}
	for len(r.b) > 0 {
		k := Kept{Channel: r.string(), Kind: r.byte(), Time: int64(r.uvarint())}
		n := r.uvarint()
		if r.bad || n > uint64(len(r.b)) {
			return errWord
		}
		k.Data, r.b = r.b[:n:n], r.b[n:]
		visit(k)
	}
	return nil
}

// Newest returns the channels that keep their newest message alone and have one of
// since, ms, or later: at most so many, those with the newest ones, and whether there
// are more.
func (s *Store) Newest(since int64, most int) (names []string, more bool) {
	type named struct {
		ms   uint64
		name string
	}
	var list []named
	for _, c := range s.table {
		for ; c != nil; c = c.next {
			if c.n != 1 {
				continue
			}
			if ms := c.first().ms; int64(ms) >= since && s.o.Keep(c.text()).Latest {
				list = append(list, named{ms, c.text()})
			}
		}
	}
	slices.SortFunc(list, func(a, b named) int { return cmp.Compare(b.ms, a.ms) })
	more = len(list) > most
	for _, n := range list[:min(len(list), most)] {
		names = append(names, n.name)
	}
	return names, more
}
