package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/worker"
)

// Causes for which ingest refuses something; a label of the metrics.
const (
	causeSyntax      = "syntax"      // not one JSON object
	causeKey         = "key"         // missing or wrong
	causeInvalid     = "invalid"     // no target, unknown field, wrong type …
	causeSize        = "size"        // over 1 MiB
	causeBusy        = "busy"        // the bus took nothing for a second
	causeAway        = "away"        // the bus is away
	causeConnections = "connections" // too many
)

// ingest is the state of all ingest listeners.
type ingest struct {
	published atomic.Uint64
	logged    atomic.Int64 // when a refusal was last logged, Unix ns

	mu      sync.Mutex
	refused map[string]uint64      // by cause
	open    map[io.Closer]struct{} // listeners and connections
	conns   int
	closed  bool
	give    func(Carried)  // not nil: connections are to be given up to it
	wg      sync.WaitGroup // listeners and connections
}

func (in *ingest) init() {
	in.refused = map[string]uint64{}
	in.open = map[io.Closer]struct{}{}
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

// ingestOps are told apart by the fields of the object.
var ingestOps = map[string]operation{}

func init() {
	for _, name := range []string{"publish", "send", "broadcast"} {
		op := operations[name]
		op.fields = append(slices.Clone(op.fields), "key")
		ingestOps[name] = op
	}
	broadcast := ingestOps["broadcast"]
	broadcast.fields = append(broadcast.fields, "broadcast")
	ingestOps["broadcast"] = broadcast
}

// parse makes publications of one datagram or line.
func (f *feed) parse(object []byte) ([]worker.Publication, string, error) {
	fields, err := parseObject(object)
	if err != nil {
		return nil, causeSyntax, err
	}
	var key string
	text(&key, fields["key"]) // a key of another type is no key
	if f.secret != nil && !f.secret.is(key) {
		return nil, causeKey, &problem{Status: http.StatusUnauthorized, Message: "key is missing or wrong", Field: "key"}
	}
	name, err := opOf(fields)
	if err != nil {
		return nil, causeInvalid, err
	}
	ps, err := ingestOps[name].parse(fields, f.s.apps)
	if err != nil {
		return nil, causeInvalid, err
	}
	return ps, "", nil
}

func opOf(fields map[string]json.RawMessage) (string, error) {
	for _, f := range []struct{ field, op string }{
		{"broadcast", "broadcast"}, {"channel", "publish"}, {"channels", "publish"},
		{"uid", "send"}, {"uids", "send"}, {"connection", "send"}, {"connections", "send"},
	} {
		if _, ok := fields[f.field]; ok {
			return f.op, nil
		}
	}
	return "", invalid("channel", `no target: channel(s), uid(s), connection(s) or "broadcast":true is needed`)
}

// take handles one datagram or line. Where the sender can wait, a full bus
// makes it wait up to a second.
func (f *feed) take(object []byte, from net.Addr, patience time.Duration) error {
	ps, cause, err := f.parse(object)
	if err == nil {
		err = f.publish(ps, patience)
		cause = causeOf(err)
	}
	if err != nil {
		f.s.refuse(cause, from)
		return err
	}
	f.s.ingest.published.Add(uint64(len(ps)))
	return nil
}

func (f *feed) publish(ps []worker.Publication, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := f.s.o.Client.PublishAll(ps)
		if !errors.Is(err, worker.ErrBrokerBusy) || !time.Now().Before(deadline) {
			return err
		}
	}
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
	now, last := time.Now().UnixNano(), in.logged.Load()
	if now-last >= int64(time.Second) && in.logged.CompareAndSwap(last, now) {
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

// setDeadline bounds the next read of conn. When connections are given up there
// is none.
func (in *ingest) setDeadline(conn net.Conn, idle time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.give == nil {
		_ = conn.SetReadDeadline(time.Now().Add(idle))
	} else {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
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
