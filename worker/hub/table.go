package hub

import "hash/maphash"

// table finds a group by its name: open addressing with linear probing, 8 bytes
// a place and three of four places in use at most. A Go map would take three
// times as much. It is cut into parts that grow one by one, so that with a
// million names no join has to wait for all of them to be moved.
type table[M any] struct {
	parts [parts]part[M]
}

const (
	parts    = 1 << partBits
	partBits = 6
	kindMask = 1 // the lowest bit of a key is the kind, the others are hash
)

// part is a piece of the table; the length of places is a power of two.
type part[M any] struct {
	places []*Group[M]
	used   int
}

var seed = maphash.MakeSeed()

func keyOf(k Kind, name string) uint32 {
	return uint32(maphash.String(seed, name))&^kindMask | uint32(k)
}

// part returns the piece for a key: its upper bits choose it, the lower ones
// the place within.
func (t *table[M]) part(key uint32) *part[M] { return &t.parts[key>>(32-partBits)] }

func (p *part[M]) home(key uint32) uint32 { return key >> 1 & p.mask() }
func (p *part[M]) mask() uint32           { return uint32(len(p.places) - 1) }

func (t *table[M]) find(key uint32, name string) *Group[M] {
	p := t.part(key)
	if p.used == 0 {
		return nil
	}
	for i := p.home(key); p.places[i] != nil; i = (i + 1) & p.mask() {
		if g := p.places[i]; g.key == key && g.name == name {
			return g
		}
	}
	return nil
}

// add puts in a group that is not there.
func (t *table[M]) add(g *Group[M]) {
	p := t.part(g.key)
	if 4*(p.used+1) > 3*len(p.places) {
		p.resize(max(2*len(p.places), 4))
	}
	p.used++
	p.put(g)
}

func (p *part[M]) put(g *Group[M]) {
	i := p.home(g.key)
	for p.places[i] != nil {
		i = (i + 1) & p.mask()
	}
	p.places[i] = g
}

// remove takes out a group that is there, and closes the gap in its probe run.
func (t *table[M]) remove(g *Group[M]) {
	p := t.part(g.key)
	i := p.home(g.key)
	for p.places[i] != g {
		i = (i + 1) & p.mask()
	}
	p.places[i] = nil
	p.used--
	for j := (i + 1) & p.mask(); p.places[j] != nil; j = (j + 1) & p.mask() {
		home := p.home(p.places[j].key)
		if (j-home)&p.mask() >= (j-i)&p.mask() {
			p.places[i], p.places[j] = p.places[j], nil
			i = j
		}
	}
	if len(p.places) > 64 && p.used < len(p.places)/8 {
		p.resize(len(p.places) / 4)
	}
}

func (p *part[M]) resize(n int) {
	old := p.places
	p.places = make([]*Group[M], n)
	for _, g := range old {
		if g != nil {
			p.put(g)
		}
	}
}

func (t *table[M]) each(visit func(*Group[M]) bool) {
	for i := range t.parts {
		for _, g := range t.parts[i].places {
			if g != nil && !visit(g) {
				return
			}
		}
	}
}
