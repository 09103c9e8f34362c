package reactor

import "os"

// A socket that has come to stay leaves gnet: it gets another number, in an
// epoll instance of our own, and what gnet keeps of it, some 300 bytes, goes.
// What is left is a place in a table by descriptor. gnet goes on to accept, and
// has the sockets that are not settled; spin says how the two take turns.

// own is the set of settled sockets. All of it belongs to the loop.
type own[C any] struct {
	epoll int // ours; it watches the sockets, and gnet's own instance
	off   bool
	n     int    // sockets
	gen   uint32 // of the last one
	table []*[placesAtOnce]place[C]

	busy  bool // gnet has had a socket's event since spin was left
	yield bool // gnet may have fetched an event of a socket that it should not see
	poll  poller
}

// place is a settled socket's. The generation is in its events and in its
// handle, so that those of a socket that has closed are not taken for those of
// its successor.
type place[C any] struct {
	c    C
	gen  uint32 // 0: none
	deaf bool   // ignored: what has been fetched of it is not acted on
}

// placesAtOnce is how many places are made at a time.
const placesAtOnce = 512

// FallbackEnv leaves all sockets to gnet when it is "gnet": to find out whose
// fault something is.
const FallbackEnv = "PUSHD_REACTOR"

func (o *own[C]) open() (err error) {
	o.off = os.Getenv(FallbackEnv) == "gnet"
	o.epoll, err = newEpoll()
	return err
}

func (o *own[C]) close() {
	closeFD(o.epoll)
	o.epoll = -1
}

// watch makes events of gnet's instance end our wait.
func (o *own[C]) watch(gnets int) error { return epollAdd(o.epoll, gnets, eventsRead, 0) }

// at returns the place of a descriptor.
func (o *own[C]) at(fd int32) *place[C] {
	chunk := int(fd) / placesAtOnce
	for len(o.table) <= chunk {
		o.table = append(o.table, nil)
	}
	if o.table[chunk] == nil {
		o.table[chunk] = new([placesAtOnce]place[C])
	}
	return &o.table[chunk][fd%placesAtOnce]
}

// find returns the place of an open socket, nil for one that is closed.
func (o *own[C]) find(fd int32, gen uint32) *place[C] {
	chunk := int(fd) / placesAtOnce
	if gen == 0 || chunk >= len(o.table) || o.table[chunk] == nil {
		return nil
	}
	if p := &o.table[chunk][fd%placesAtOnce]; p.gen == gen {
		return p
	}
	return nil
}

// deafen sets whether events of a socket are acted on.
func (o *own[C]) deafen(h Handle, deaf bool) {
	if p := o.find(h.fd, h.gen); p != nil {
		p.deaf = deaf
	}
}

// enrol gives fd a place.
func (o *own[C]) enrol(c C, fd int) Handle {
	if o.gen++; o.gen == 0 {
		o.gen = 1
	}
	*o.at(int32(fd)) = place[C]{c: c, gen: o.gen}
	o.n++
	return Handle{fd: int32(fd), gen: o.gen}
}

func (o *own[C]) leave(h Handle) {
	*o.at(h.fd) = place[C]{}
	o.n--
}

// Settle says that a socket has come to stay: it leaves gnet, at the end of the
// turn that is about it, or now if none is. Settled follows, unless there is no
// descriptor free for a moment: then it stays where it is, which costs only
// memory. A settled handle is no matter.
func (r *Reactor[C]) Settle(h Handle) {
	switch {
	case r.own.off || h.front == nil:
	case h == r.current:
		r.settles = true
	case r.settle(h):
		before := r.closing
		_ = h.front.conn.EventLoop().Close(h.front.conn)
		r.closing = before
	}
}

// settle moves a socket. What gnet has of it, the old number, is to be closed.
func (r *Reactor[C]) settle(h Handle) bool {
	g, ok := h.front.conn.Context().(*guest[C])
	if !ok {
		return false
	}
	fd, err := Duplicate(h.FD())
	if err != nil {
		return false
	}
	now := r.own.enrol(g.c, fd)
	if err := epollAdd(r.own.epoll, fd, eventsRead, now.gen); err != nil {
		r.own.leave(now)
		closeFD(fd)
		return false
	}
	r.writable.forget(h)
	h.front.conn.SetContext(nil) // its OnClose tells nobody
	r.fronts--
	r.enter(Handle{})
	r.h.Settled(g.c, now)
	r.exit()
	r.tasks.ring() // so that spin begins
	return true
}

// AdoptSettled is Adopt for a socket that has come to stay.
func (r *Reactor[C]) AdoptSettled(c C, fd int) {
	if r.own.off {
		r.Adopt(c, fd)
		return
	}
	_ = r.Post(func() {
		h := r.own.enrol(c, fd)
		r.balance.note(r.sockets())
		r.h.Landed(c, h, epollAdd(r.own.epoll, fd, eventsRead, h.gen))
	}, 0)
}

// Blank returns a descriptor for AdoptSettled by which nothing ever comes: for a
// connection that others carry. It is the caller's.
func (r *Reactor[C]) Blank() (int, error) { return blank() }

// closeOwn closes a settled socket and tells so.
func (r *Reactor[C]) closeOwn(h Handle, err error) {
	p := r.own.find(h.fd, h.gen)
	if p == nil {
		return
	}
	c := p.c
	r.own.leave(h)
	r.enter(Handle{})
	r.closed(c, h, err)
	r.exit()
	epollDelete(r.own.epoll, h.FD())
	closeFD(h.FD())
}

// closeOwned closes all of them: the loop ends.
func (r *Reactor[C]) closeOwned() {
	for i, chunk := range r.own.table {
		if chunk == nil {
			continue
		}
		for j := range chunk {
			if gen := chunk[j].gen; gen != 0 {
				r.closeOwn(Handle{fd: int32(i*placesAtOnce + j), gen: gen}, nil)
			}
		}
	}
}

// keeperOf returns what the handler keeps of an open socket.
func (r *Reactor[C]) keeperOf(h Handle) (c C, ok bool) {
	if h.front == nil {
		if p := r.own.find(h.fd, h.gen); p != nil {
			return p.c, true
		}
		return c, false
	}
	g, ok := h.front.conn.Context().(*guest[C])
	if ok {
		c = g.c
	}
	return c, ok
}
