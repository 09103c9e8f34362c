package websocket

import "testing"

// bitReader reads a DEFLATE stream (RFC 1951) for farthest.
type bitReader struct {
	t    testing.TB
	b    []byte
	pos  int // in bits
	out  int // bytes that were produced
	most int // farthest match
}

// farthest returns the longest distance of any match in a stream that ends
// with a flush. It is all of RFC 1951 but the output.
func farthest(t testing.TB, stream []byte) int {
	r := &bitReader{t: t, b: stream}
	for r.pos+3 <= 8*len(stream) {
		if r.bits(1) == 1 {
			t.Fatal("a final block in a server's message")
		}
		switch r.bits(2) {
		case 0:
			r.stored()
		case 1:
			r.compressed(fixedCodes())
		case 2:
			r.compressed(r.dynamicCodes())
		default:
			t.Fatal("reserved block type")
		}
	}
	return r.most
}

func (r *bitReader) bits(n int) (v int) {
	for i := range n {
		v |= int(r.b[r.pos/8]>>(r.pos%8)&1) << i
		r.pos++
	}
	return v
}

func (r *bitReader) stored() {
	r.pos = (r.pos + 7) / 8 * 8
	n := r.bits(16)
	if r.bits(16) != n^0xffff {
		r.t.Fatal("stored block's lengths differ")
	}
	r.pos += 8 * n
	r.out += n
}

// code maps a Huffman code, with a 1 before its first bit, to its symbol.
type code map[int]int

func newCode(lengths []int) code {
	c, next := code{}, 0
	for n := 1; n < 16; n++ {
		next <<= 1
		for symbol, l := range lengths {
			if l == n {
				c[1<<n|next] = symbol
				next++
			}
		}
	}
	return c
}

func (r *bitReader) symbol(c code) int {
	for v := 1; ; {
		v = v<<1 | r.bits(1)
		if s, ok := c[v]; ok {
			return s
		}
		if v >= 1<<16 {
			r.t.Fatal("no such code")
		}
	}
}

func fixedCodes() (literals, distances code) {
	l, d := make([]int, 288), make([]int, 30)
	for i := range l {
		switch {
		case i < 144, i >= 280:
			l[i] = 8
		case i < 256:
			l[i] = 9
		default:
			l[i] = 7
		}
	}
	for i := range d {
		d[i] = 5
	}
	return newCode(l), newCode(d)
}

func (r *bitReader) dynamicCodes() (literals, distances code) {
	nl, nd, nc := r.bits(5)+257, r.bits(5)+1, r.bits(4)+4
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	cl := make([]int, 19)
	for _, i := range order[:nc] {
		cl[i] = r.bits(3)
	}
	c := newCode(cl)
	var lengths []int
	for len(lengths) < nl+nd {
		s, n, v := r.symbol(c), 1, 0
		switch s {
		case 16:
			n, v = 3+r.bits(2), lengths[len(lengths)-1]
		case 17:
			n = 3 + r.bits(3)
		case 18:
			n = 11 + r.bits(7)
		default:
			v = s
		}
		for range n {
			lengths = append(lengths, v)
		}
	}
	return newCode(lengths[:nl]), newCode(lengths[nl:])
}

func (r *bitReader) compressed(literals, distances code) {
	for {
		s := r.symbol(literals)
		switch {
		case s < 256:
			r.out++
			continue
		case s == 256:
			return
		}
		n := s - 254
		if s == 285 {
			n = 258
		} else if s >= 265 {
			extra := (s - 261) / 4
			n = 3 + (4+(s-265)%4)<<extra + r.bits(extra)
		}
		s = r.symbol(distances)
		distance := s + 1
		if s >= 4 {
			extra := s/2 - 1
			distance = (2+s%2)<<extra + r.bits(extra) + 1
		}
		if distance > r.out {
			r.t.Fatalf("match reaches back %d of %d bytes", distance, r.out)
		}
		r.most = max(r.most, distance)
		r.out += n
	}
}
