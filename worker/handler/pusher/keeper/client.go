package keeper

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// bus is what a Client needs of its worker.
type bus interface {
	Tell(service string, data []byte) error
	TellAll(service string, data []byte) error // of all nodes
	Ask(service string, data []byte, wait time.Duration, done func(json []byte, err error))
	After(d time.Duration, fn func())
	Post(fn func()) error
	Has(conn string) bool       // in this process; closing ones count
	Members(channel string) int // connections of this process
}

// process is the bus of a real worker.
type process struct{ *worker.Worker }

func (p process) After(d time.Duration, fn func()) { p.Worker.After(d, fn) }

func (p process) Members(channel string) int { return p.CountMembers(channel) }

// Client tells the keeper what happens in this process, and tells it again when
// the keeper has lost it. There is one in a worker process; it belongs to the
// loop. Channels and users go by their names on the bus, see Name.
type Client struct {
	bus      bus
	instance uint64
	next     uint64 // number of the next op
	pending  []op   // of this turn
	posted   bool   // they will be sent at its end

	// What is announced to a keeper that does not know it.
	presence map[key]*subscription
	counts   map[string]int // connections by channel, as told last
	before   map[string]formerly
	logins   map[string]*signedIn
	signing  map[string]uint64 // of these, the op of each that is not confirmed yet
	left     []departure       // not confirmed yet

	recount map[string]bool // channels whose connections may have changed: true = in between there was one
	brought map[string]int  // of these, how many connections have come from another process

	ticking  bool
	asking   bool
	asked    uint64 // next, when an announcement was sent last
	announce bool   // one is due
	now      func() time.Time
}

// subscription is one to a presence channel.
type subscription struct {
	member   wire.Member
	admitted bool      // the client has been answered
	told     time.Time // of one that is not admitted
	number   uint64    // of the op by which it was joined, 0 = it came from another process
}

type signedIn struct {
	user  string
	watch []string
}

// departure is the end of a subscription or login, and the op that told of it.
type departure struct {
	op     op
	number uint64
}

// formerly is how many connections a channel had when the keeper last confirmed what
// it was told, and the op by which it was told last that they are more or fewer.
type formerly struct {
	n      int
	number uint64
}

const (
	tick       = 500 * time.Millisecond // between two hellos
	soon       = 50 * time.Millisecond  // to the next one after a departure or sign-in
	tellAgain  = 3 * time.Second        // when a join is not answered
	maxLeft    = 64 << 10               // departures that wait to be confirmed
	maxTell    = 256 << 10              // bytes of ops in one word, if there are several
	askTimeout = 400 * time.Millisecond
)

var (
	clientsMu sync.Mutex
	clients   = map[*worker.Worker]*Client{}
)

// For returns the client of the process that runs w. Call it on the loop, from
// OnWorkerStart on.
func For(w *worker.Worker) *Client {
	clientsMu.Lock()
	defer clientsMu.Unlock()
	c := clients[w]
	if c == nil {
		c = newClient(process{w})
		clients[w] = c
		c.hello() // so that a keeper that has just begun need not wait for us
	}
	return c
}

// Forget drops the client of a process that ends. Only programs that run
// several workers in one process need it.
func Forget(w *worker.Worker) {
	clientsMu.Lock()
	defer clientsMu.Unlock()
	delete(clients, w)
}

func newClient(b bus) *Client {
	return &Client{
		bus: b, instance: rand.Uint64(), next: 1, now: time.Now,
		presence: map[key]*subscription{},
		counts:   map[string]int{}, before: map[string]formerly{}, logins: map[string]*signedIn{}, signing: map[string]uint64{},
		recount: map[string]bool{}, brought: map[string]int{},
	}
}

// Join asks for a subscription to a presence channel. The session gets a notice
// with CodeSubscribed or CodeRefused in answer, in some later turn.
func (c *Client) Join(conn, channel string, m wire.Member) {
	at := key{conn, channel}
	c.presence[at] = &subscription{member: m, told: c.now(), number: c.number()}
	c.tell(op{Kind: opJoin, Channel: channel, Conn: conn}.of(m))
}

// Have tells of a subscription to a presence channel that has come with a
// connection from another process (OnResume). One that has not been answered
// there is joined instead.
func (c *Client) Have(conn, channel string, m wire.Member) {
	c.presence[key{conn, channel}] = &subscription{member: m, admitted: true}
	c.tell(op{Kind: opHave, Channel: channel, Conn: conn}.of(m))
}

// Admitted notes that a session has acted on CodeSubscribed, and the form in which
// the channel tells its member: a keeper that begins anew is to tell no other.
func (c *Client) Admitted(conn, channel string, m wire.Member) {
	at := key{conn, channel}
	if s := c.presence[at]; s != nil {
		s.admitted, s.member.Number = true, m.Number
	}
}

// Leave ends a subscription to a presence channel, whatever has become of it.
func (c *Client) Leave(conn, channel string) {
	at := key{conn, channel}
	s := c.presence[at]
	if s == nil {
		return
	}
	delete(c.presence, at)
	c.depart(op{Kind: opLeave, Channel: channel, Conn: conn, User: s.member.ID, Number: s.member.Number, Joined: int(s.number)})
}

// Hook queues an event for the webhooks of an app that want it. Errors: those
// of worker.Worker.Tell.
func (c *Client) Hook(app string, e hook.Event) error {
	return c.event(op{Kind: opHook, Channel: app, Event: &e})
}

// Terminate has the sessions of those connections that presence channels alone
// know as a user's, by its name on the bus, send a last message and close: they
// get CodeTerminated. Those that are signed in as the user are reached by their
// uid. Errors: those of worker.Worker.Tell.
func (c *Client) Terminate(user string, message []byte) error {
	return c.event(op{Kind: opTerminate, Channel: user, Message: string(message)})
}

// Of lists the connections of a user, by its name on the bus: those that are signed in,
// and those by which presence channels know it.
func (c *Client) Of(user string) []string {
	app, id := Split(user)
	conns := map[string]bool{}
	for at, s := range c.presence {
		if s.member.ID == id && appOf(at.channel) == app {
			conns[at.conn] = true
		}
	}
	for conn, u := range c.logins {
		if u.user == user {
			conns[conn] = true
		}
	}
	return slices.Sorted(maps.Keys(conns))
}

// Count notes that connections have come to a channel in this process, or left
// it; how many there are then is asked at the end of the turn. Only for apps
// that want to know, see Counted.
func (c *Client) Count(channel string) {
	c.recount[channel] = c.recount[channel] || c.bus.Members(channel) > 0
	c.post()
}

// CountBrought is Count for a connection that has come from another process
// (OnResume): that it is there is no news.
func (c *Client) CountBrought(channel string) {
	c.brought[channel]++
	c.Count(channel)
}

// Counted reports whether the channels of an app are to be counted: only then
// does a channel cost the keeper anything.
func Counted(a *wire.App) bool {
	return a.SubscriptionCount || a.Hooks("subscription_count") || a.Hooks("channel_occupied") || a.Hooks("channel_vacated")
}

// Signin tells that a connection is that of a user, by its name on the bus, who
// wants to know of the users in watch, by their ids.
func (c *Client) Signin(conn, user string, watch []string) {
	c.logins[conn], c.signing[conn] = &signedIn{user, watch}, c.number()
	c.tell(op{Kind: opSignin, Channel: user, Conn: conn, Watch: watch})
}

// SignedIn tells of a connection that came from another process signed in. With
// a nil watch the keeper goes by what it knows.
func (c *Client) SignedIn(conn, user string, watch []string) {
	c.logins[conn] = &signedIn{user, watch}
	c.tell(op{Kind: opUser, Channel: user, Conn: conn, Watch: watch})
}

// Signout tells that the connection is gone.
func (c *Client) Signout(conn string) {
	u := c.logins[conn]
	if u == nil {
		return
	}
	c.depart(op{Kind: opSignout, Channel: u.user, Conn: conn, Joined: int(c.signing[conn])})
	delete(c.logins, conn)
	delete(c.signing, conn)
}

// depart tells of an end, and remembers it until the keeper has confirmed it.
func (c *Client) depart(o op) {
	c.left = append(c.left, departure{o, c.number()})
	if len(c.left) > maxLeft {
		c.left = c.left[1:]
	}
	c.tell(o)
}

// number returns that of the op which is told next.
func (c *Client) number() uint64 { return c.next + uint64(len(c.pending)) }

// tell sends o with the other ops of this turn.
func (c *Client) tell(o op) {
	c.pending = append(c.pending, o)
	c.post()
	c.watch()
}

// post has flush run at the end of this turn.
func (c *Client) post() {
	if !c.posted {
		c.posted = true
		_ = c.bus.Post(c.flush) // a worker that has stopped has nothing to tell
	}
}

// event sends o at once, behind what is pending, and knows whether it was
// taken.
func (c *Client) event(o op) error {
	c.flush()
	_, raw := portion([]op{o})
	h := header{Instance: c.instance}
	if o.Kind == opHook { // told to the endpoints once, by the node that saw it
		return c.bus.Tell(Service, h.word(raw))
	}
	return c.bus.TellAll(Service, h.word(raw))
}

// flush sends the ops of this turn. What is not taken is announced later.
func (c *Client) flush() {
	c.tellCounts()
	c.posted = false
	for len(c.pending) > 0 {
		n, raw := portion(c.pending)
		_ = c.send(header{}, n, raw)
		c.pending = c.pending[n:]
	}
	c.pending = nil
}

// tellCounts adds the counts that have changed to what is pending. They are
// those of the hub, whatever order callbacks run in.
func (c *Client) tellCounts() {
	for channel, occupied := range c.recount {
		brought := c.brought[channel]
		delete(c.recount, channel)
		delete(c.brought, channel)
		n := c.bus.Members(channel)
		if n == 0 && c.counts[channel] == 0 && brought == 0 && occupied { // within a turn: it was there all the same
			c.tellCount(channel, 1, 0)
		}
		if n != c.counts[channel] || brought > 0 {
			c.tellCount(channel, n, brought)
		}
	}
}

// tellCount adds one to what is pending, and remembers what it was before.
func (c *Client) tellCount(channel string, n, brought int) {
	was, changed := c.before[channel]
	if !changed {
		was.n = c.counts[channel]
	}
	was.n += brought
	was.number = c.number()
	if changed || was.n != n {
		c.before[channel] = was
	}
	if c.counts[channel] = n; n == 0 {
		delete(c.counts, channel)
	}
	c.pending = append(c.pending, c.countOp(channel))
	c.watch()
}

// countOp tells how many connections a channel has, and how many of them are news.
func (c *Client) countOp(channel string) op {
	o := op{Kind: opCount, Channel: channel, N: c.counts[channel]}
	if was, changed := c.before[channel]; changed {
		o.Joined = o.N - was.n
	}
	return o
}

// send numbers n ops and tells them. What is not taken leaves a gap in the
// numbers, by which the keeper knows.
func (c *Client) send(h header, n int, ops []byte) error {
	h.Instance, h.First = c.instance, c.next
	c.next += uint64(n)
	return c.bus.Tell(Service, h.word(ops))
}
