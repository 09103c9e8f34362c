package load

// round follows the messages of one stream to the last of those who must get
// them.
type round struct {
	got  map[uint32]int64 // receivers so far, by seq, of messages that not all have
	last []int64          // when the last receiver had message i+1; 0: not yet
}

// arrived counts a receiver of message seq and says whether it was the last of all.
func (r *round) arrived(seq uint32, all, now int64) bool {
	if r.got == nil {
		r.got = map[uint32]int64{}
	}
	r.got[seq]++
	if r.got[seq] < all {
		return false
	}
	delete(r.got, seq)
	for len(r.last) < int(seq) {
		r.last = append(r.last, 0)
	}
	r.last[seq-1] = now
	return true
}

// missing is how many receivers have not got messages that others have.
func (r *round) missing(all int64) (n int64) {
	for _, got := range r.got {
		n += max(all-got, 0)
	}
	return n
}
