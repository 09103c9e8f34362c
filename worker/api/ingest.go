package api

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/order"
	"github.com/pushd/pushd/worker/seldom"
)

// Causes for which ingest refuses something; a label of the metrics.
const (
	causeSyntax      = "syntax"      // not one JSON object
	causeKey         = "key"         // missing or wrong
	causeInvalid     = "invalid"     // no target, unknown field, wrong type …
	causeSize        = "size"        // over 1 MiB
	causeBusy        = "busy"        // the bus took nothing for a second
	causeAway        = "away"        // the bus is away, or the history that all nodes share
	causeConnections = "connections" // too many
)

// ingest is the state of all ingest listeners.
type ingest struct {
	published atomic.Uint64
	logged    seldom.Limit // of refusals
	long      atomic.Int64 // bytes of lines that are longer than shortLine
	unsaid    atomic.Int64 // objects of which the history has said nothing yet

	mu      sync.Mutex
	refused map[string]uint64      // by cause
	open    map[io.Closer]struct{} // listeners and connections
	places  map[*place]struct{}    // those of connections
	peers   map[netip.Addr]int     // and how many each has
	closed  bool
	give    func(Carried)  // not nil: connections are to be given up to it
	wg      sync.WaitGroup // listeners and connections
}

func (in *ingest) init() {
	in.refused = map[string]uint64{}
	in.open = map[io.Closer]struct{}{}
	in.places = map[*place]struct{}{}
	in.peers = map[netip.Addr]int{}
}

// IngestOptions configure one ingest listener.
type IngestOptions struct {
	// Key must stand in each object as "key". "" = none is asked for.
	Key string
}

// feed is one ingest listener.
type feed struct {
	s      *Server
	door   string
	secret *secret // nil = no key
}

func (s *Server) newFeed(o IngestOptions) *feed {
	f := &feed{s: s}
	if o.Key != "" {
		key := newSecret(o.Key)
		f.secret = &key
	}
	return f
}

// parse makes publications of one datagram or line.
func (f *feed) parse(object []byte) ([]worker.Publication, string, error) {
	fields, err := order.Object(object)
	if err != nil {
		return nil, causeSyntax, err
	}
	key, _ := order.Text(fields["key"]) // a key of another type is no key
	if f.secret != nil && !f.secret.is(key) {
		return nil, causeKey, &problem{Status: http.StatusUnauthorized, Message: "key is missing or wrong", Field: "key"}
	}
	delete(fields, "key")
	verb, err := order.VerbOf(fields)
	if err != nil {
		return nil, causeInvalid, err
	}
	ps, err := order.Parse(verb, fields, f.s.names(), new(order.Budget))
	if err != nil {
		return nil, causeInvalid, err
	}
	return ps, "", nil
}

// take handles one datagram or line. Where the sender can wait, a full bus
// makes it wait up to a second. What the history refuses after that is told to late, on
// another goroutine.
func (f *feed) take(object []byte, from net.Addr, patience time.Duration, late func(error)) (cause string, err error) {
	ps, cause, err := f.parse(object)
	if err == nil {
		err = f.publish(ps, patience, func(err error) {
			f.s.refuse(causeAway, from)
			late(err)
		})
		cause = causeOf(err)
	}
	if err != nil {
		f.s.refuse(cause, from)
		return cause, err
	}
	f.s.ingest.published.Add(uint64(len(ps)))
	return "", nil
}

func (f *feed) publish(ps []worker.Publication, patience time.Duration, refused func(error)) error {
	send := f.s.o.Client.PublishAll
	if f.s.o.Client.Shares(ps) {
		send = func(ps []worker.Publication) error { return f.numbered(ps, refused) }
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := send(ps)
		if !errors.Is(err, worker.ErrBrokerBusy) || !time.Now().Before(deadline) {
			return err
		}
	}
}

// maxUnsaid bounds the objects of which the history has said nothing yet.
const maxUnsaid = 4096

// numbered publishes what the history may refuse later.
func (f *feed) numbered(ps []worker.Publication, refused func(error)) error {
	unsaid := &f.s.ingest.unsaid
	if unsaid.Add(1) > maxUnsaid {
		unsaid.Add(-1)
		return worker.ErrBrokerBusy
	}
	err := f.s.o.Client.PublishNumbered(ps, broker.NumberWait, func(said []worker.Numbered, all bool) {
		defer unsaid.Add(-1)
		if why := worker.Unkept(said, all); why != "" {
			refused(&problem{Message: why})
		}
	})
	if err != nil {
		unsaid.Add(-1)
	}
	return err
}

func causeOf(err error) string {
	switch {
	case errors.Is(err, worker.ErrBrokerAway):
		return causeAway
	case errors.Is(err, worker.ErrTooLarge):
		return causeSize
	}
	return causeBusy
}

// refuse counts a refusal and logs one a second: never what was sent.
func (s *Server) refuse(cause string, from net.Addr) {
	in := &s.ingest
	in.mu.Lock()
	in.refused[cause]++
	n := in.refused[cause]
	in.mu.Unlock()
	if in.logged.Allow(time.Now()) {
		s.log.Warn("ingest refused", "cause", cause, "from", fmt.Sprint(from), "refused", n)
	}
}

// refusals returns the counts by cause.
func (in *ingest) refusals() map[string]uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.refused)
}

// track remembers a listener that close has to close, and that wait waits for
// until it is untracked. It fails when close was called.
func (in *ingest) track(c io.Closer) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.open[c] = struct{}{}
		in.wg.Add(1)
	}
	return !in.closed
}

func (in *ingest) untrack(c io.Closer) {
	in.mu.Lock()
	delete(in.open, c)
	in.mu.Unlock()
	c.Close()
	in.wg.Done()
}

func (in *ingest) isClosed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.closed
}

// carry gives up all connections and returns when none is left.
func (in *ingest) carry(give func(Carried)) {
	in.mu.Lock()
	var one sync.Mutex
	in.give = func(c Carried) {
		one.Lock()
		defer one.Unlock()
		give(c)
	}
	in.closed = true
	for c := range in.open {
		if conn, ok := c.(net.Conn); ok && !isPackets(c) {
			_ = conn.SetReadDeadline(time.Unix(1, 0))
		} else {
			c.Close()
		}
	}
	in.mu.Unlock()
	in.wg.Wait()
}

// isPackets says whether c is a datagram socket, which is nobody's connection.
func isPackets(c io.Closer) bool {
	_, ok := c.(net.PacketConn)
	_, stream := c.(*net.UnixConn) // is both
	return ok && !stream
}

func (in *ingest) giving() func(Carried) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.give
}

func (in *ingest) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for c := range in.open {
		c.Close()
	}
}

func (in *ingest) wait() { in.wg.Wait() }
