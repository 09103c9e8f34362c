package reactor

// A round is what one look at the sockets has found: each that was ready has its
// turn, one after the other.

// round is what is to be done when the sockets of one have had their turns. All
// of it belongs to the loop.
type round struct {
	serving    bool // one is under way
	fns, spare []func()
}

// AfterRound runs fn once, in a turn of its own, when all sockets that were found
// ready together have had theirs: what they have caused can be done in one go.
// Outside of a round it runs soon.
func (r *Reactor[C]) AfterRound(fn func()) {
	if r.round.serving {
		r.round.fns = append(r.round.fns, fn)
		return
	}
	_ = r.Post(fn, 0) // a reactor that has ended wants nothing any more
}

// endRound ends the one under way.
func (r *Reactor[C]) endRound() {
	r.round.serving = false
	fns := r.round.fns
	if len(fns) == 0 {
		return
	}
	r.round.fns, r.round.spare = r.round.spare[:0], nil
	r.enter(Handle{})
	for _, fn := range fns {
		fn()
	}
	r.exit()
	clear(fns)
	r.round.spare = fns[:0]
}
