package worker

// Clients are the connections of one handler in this process, for handlers that
// do not look at them one by one in their callbacks but hand them on, to another
// process say. A handler that has the method
//
//	Clients() *Clients
//
// gets them through what that returns, always the same value, which is for the
// loop alone. The zero value is ready.
type Clients struct {
	held    bool
	waiting []*Conn // have sent something meanwhile
}

// Find returns the connection with that number, nil when this handler has none.
func (k *Clients) Find(w *Worker, number uint64) *Conn {
	if c := w.loop.conns.numbered(number); c != nil && c.route.clients == k {
		return c
	}
	return nil
}

// Each calls visit for each connection that can be sent messages, until it
// returns false.
func (k *Clients) Each(w *Worker, visit func(c *Conn) bool) {
	for _, c := range w.loop.conns.snapshot() {
		if c.route.clients == k && c.open() && !visit(c) {
			return
		}
	}
}

// Hold stops working on what they send: from this moment on none of them has a
// callback for that. Each is read for at most ReadChunk further bytes, then the
// kernel holds the rest and they feel it. Nobody is taken for dead meanwhile.
func (k *Clients) Hold(w *Worker) {
	k.held = true
	w.loop.rest.budget.messages = 0 // ends the turn of the one at work
}

// Held reports whether they are held.
func (k *Clients) Held() bool { return k.held }

// Release undoes Hold; what has waited is worked on, in the turns of those who
// sent it.
func (k *Clients) Release(w *Worker) {
	if !k.held {
		return
	}
	k.held = false
	for _, c := range k.waiting {
		w.loop.resume(c)
	}
	k.waiting = nil
}

// holdsBack reports whether what c sends has to wait for Release.
func (c *Conn) holdsBack() bool {
	k := c.route.clients
	return k != nil && k.held && c.stage == stageOpen
}

// waits notes a connection that has something to be worked on after Release.
func (k *Clients) waits(c *Conn) { k.waiting = append(k.waiting, c) }
