package sequencer_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest"
)

// ledger is what a publisher knows of its messages in a channel: their numbers
// rise, and of some it does not know whether they were published.
type ledger struct {
	mu     sync.Mutex
	doubt  map[int]bool
	number int
}

// missing returns the messages after one and before another that were
// published for certain.
func (l *ledger) missing(after, before int) (list []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := after + 1; n < before; n++ {
		if !l.doubt[n] {
			list = append(list, n)
		}
	}
	return list
}

// end returns the number of the message behind all others.
func (l *ledger) end() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number + 1
}

// publish publishes the next message, and reports whether that is certain.
func (l *ledger) publish(s *pushdtest.Server, channel string) bool {
	l.mu.Lock()
	l.number++
	n := l.number
	l.doubt[n] = true
	l.mu.Unlock()
	sure := tryPublish(s, channel, strconv.Itoa(n))
	if sure {
		l.mu.Lock()
		delete(l.doubt, n)
		l.mu.Unlock()
	}
	return sure
}

// tryPublish publishes, and reports whether every worker has had it.
func tryPublish(s *pushdtest.Server, channel, text string) bool {
	body := fmt.Sprintf(`{"channel":%q,"data":%q}`, channel, text)
	req, err := http.NewRequest(http.MethodPost, "http://"+s.API+"/v1/publish", strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Key)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}).Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var answer struct{ Complete bool }
	return json.NewDecoder(res.Body).Decode(&answer) == nil && res.StatusCode == 200 && answer.Complete
}

// endText is the last message of a channel.
const endText = "end"

// nats is a NATS server of somebody else, with JetStream.
type nats struct {
	t    testing.TB
	dir  string
	port int
	run  *server.Server
}

func startNATS(t testing.TB) *nats {
	n := &nats{t: t, dir: t.TempDir(), port: pushdtest.FreePort(t)}
	n.start()
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *nats) start() {
	n.t.Helper()
	var err error
	n.run, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n.port, NoSigs: true, NoLog: true, MaxPayload: 2 << 20, JetStream: true, StoreDir: n.dir,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.run.Start()
	if !n.run.ReadyForConnections(pushdtest.Timeout) {
		n.t.Fatal("NATS does not start")
	}
}

func (n *nats) stop() {
	n.run.Shutdown()
	n.run.WaitForShutdown()
}

// reader is a client that comes back with its positions, and checks that what
// it is not told to have missed it has.
type reader struct {
	t       *testing.T
	servers []*pushdtest.Server // it comes back to any of them
	ledgers map[string]*ledger
	at      map[string]string // position by channel
	last    map[string]int    // number of the last message; -1 = a gap was told, or it has just begun
	owed    map[string]int    // missed messages that are still to come
	joined  map[string]string // position of the join, when those have come

	ended         map[string]bool
	drop          chan struct{} // one value: break the connection off
	returns, told int
	recovered     int
	lines         []string // the last ones
}

// run reads until every channel has brought the message end.
func (r *reader) run() error {
	for r.returns = 0; ; r.returns++ {
		c, err := pushdtest.Knock(fmt.Sprintf("127.0.0.1:%d", r.servers[rand.IntN(len(r.servers))].Port), "/r")
		if err == nil && c.Response.StatusCode == 101 {
			err = r.read(c)
			c.Conn.Close()
			if err == nil {
				return nil
			}
			if strings.HasPrefix(err.Error(), "lie: ") {
				return err
			}
		}
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond) // as a client backs off
	}
}

// read returns nil when all has come, else why the connection has ended.
func (r *reader) read(c *pushdtest.Client) error {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-r.drop:
			c.Conn.Close()
		case <-stop:
		}
	}()
	if _, _, err := c.Next(pushdtest.Timeout); err != nil { // its id
		return err
	}
	r.lines = append(r.lines, "-- comes back")
	for channel, at := range r.at {
		delete(r.owed, channel)
		if at == "" { // where there was no history to have a place in, it begins
			r.last[channel] = -1
		}
		if err := c.Try(pushdtest.OpText, []byte(strings.TrimSpace("join "+channel+" "+at))); err != nil {
			return err
		}
	}
	for len(r.ended) < len(r.at) {
		op, raw, err := c.Next(pushdtest.Timeout)
		if err != nil {
			return err
		}
		if op != pushdtest.OpText {
			return fmt.Errorf("closed: %q", raw)
		}
		if r.lines = append(r.lines, string(raw)); len(r.lines) > 12 {
			r.lines = r.lines[1:]
		}
		if err := r.take(string(raw)); err != nil {
			return fmt.Errorf("lie: %w\n%s", err, strings.Join(r.lines, "\n"))
		}
	}
	return nil
}

func (r *reader) take(line string) error {
	f := strings.SplitN(line, " ", 5)
	switch f[0] {
	case "joined", "again":
		channel := f[1]
		n, _ := strconv.Atoi(f[3])
		r.owed[channel], r.joined[channel] = n, f[2]
		if f[4] != `""` {
			r.last[channel] = -1
			r.told++
			r.t.Logf("told: %s", line)
		} else {
			r.recovered++
		}
		if n == 0 {
			r.at[channel] = f[2]
		}
	case "m":
		channel := f[1]
		n, err := strconv.Atoi(f[4])
		if f[4] == endText {
			if r.ended[channel] {
				return nil
			}
			n, err = r.ledgers[channel].end(), nil
			r.ended[channel] = true
		}
		if err != nil {
			return fmt.Errorf("%q", line)
		}
		if last := r.last[channel]; last >= 0 {
			if n <= last {
				return fmt.Errorf("%s: %d after %d", channel, n, last)
			}
			if missing := r.ledgers[channel].missing(last, n); len(missing) > 0 {
				return fmt.Errorf("%s: %v are missing between %d and %d, and nobody said so", channel, missing, last, n)
			}
		}
		r.last[channel], r.at[channel] = n, f[2]
		if r.owed[channel] > 0 {
			if r.owed[channel]--; r.owed[channel] == 0 {
				r.at[channel] = r.joined[channel]
			}
		}
	default:
		return r.plain(line)
	}
	return nil
}

// plain takes a message without a position, which comes while a channel has no
// history. The reader keeps the position that it has, as a client may that was not
// told of the switch.
func (r *reader) plain(line string) error {
	n, err := strconv.Atoi(line)
	if len(r.at) != 1 || err != nil && line != endText {
		return fmt.Errorf("%q", line)
	}
	for channel, last := range r.last {
		if line == endText {
			if r.ended[channel] {
				return nil
			}
			n = r.ledgers[channel].end()
			r.ended[channel] = true
		}
		if missing := r.ledgers[channel].missing(last, n); last >= 0 && (n <= last || len(missing) > 0) {
			return fmt.Errorf("%d after %d, missing %v", n, last, missing)
		}
		r.last[channel] = n
	}
	return nil
}

// TestNoLies: whatever process is killed or replaced under load, and however
// often clients are cut off, nobody misses a message without being told.
func TestNoLies(t *testing.T) {
	rounds := 6
	if os.Getenv("PUSHD_TEST_FULL") != "" {
		rounds = 100
	}
	for _, store := range []string{"memory", "disk", "jetstream"} {
		t.Run(store, func(t *testing.T) { noLies(t, store, rounds) })
	}
}

// node is a server and its config.
type node struct {
	*pushdtest.Server
	text string
}

// nodes starts the servers: with the store "jetstream" two of them, which share
// a NATS server.
func nodes(t *testing.T, store string) (list []node, bus *nats) {
	return nodesOf(t, store, "history = 5000")
}

// nodesOf is nodes that keep as much of a room.
func nodesOf(t *testing.T, store, history string, env ...string) (list []node, bus *nats) {
	text := strings.Replace(strings.Replace(config, "history = 100", history, 1), "[[channel]]", "[history]\nstore = \""+store+"\"\n[[channel]]", 1)
	if store != "jetstream" {
		return []node{{start(t, text, env...), text}}, nil
	}
	bus = startNATS(t)
	text = strings.Replace(text, "[history]", "[history]\nreplicas = 1", 1)
	for i := range 2 {
		text := fmt.Sprintf("[broker]\nurl = \"nats://127.0.0.1:%d\"\n[cluster]\nnode = \"n%d\"\n%s", bus.port, i, text)
		list = append(list, node{start(t, text, env...), text})
	}
	return list, bus
}

func noLies(t *testing.T, store string, rounds int) {
	list, bus := nodes(t, store)
	var servers []*pushdtest.Server
	for _, n := range list {
		servers = append(servers, n.Server)
	}
	lies(t, store, rounds, 3, servers, func(random *rand.Rand, round int) {
		if what := random.IntN(5); what == 4 && bus != nil {
			t.Log("restart NATS")
			bus.stop()
			bus.start()
		} else {
			n := list[random.IntN(len(list))]
			disturb(t, n.Server, n.text, what%4, round)
		}
	})
}

func lies(t *testing.T, store string, rounds, channels int, servers []*pushdtest.Server, disturb func(*rand.Rand, int)) {
	const readers = 6
	ledgers := map[string]*ledger{}
	for i := range channels {
		ledgers[fmt.Sprint("room", i)] = &ledger{doubt: map[int]bool{}}
	}
	var list []*reader
	errs := make(chan error, readers)
	for range readers {
		r := &reader{t: t, servers: servers, ledgers: ledgers, at: map[string]string{}, last: map[string]int{}, owed: map[string]int{}, joined: map[string]string{}, ended: map[string]bool{}, drop: make(chan struct{}, 1)}
		for channel := range ledgers {
			r.at[channel], r.last[channel] = "", -1
		}
		list = append(list, r)
		go func() { errs <- r.run() }()
	}
	quit := make(chan struct{})
	var publishers sync.WaitGroup
	for channel, l := range ledgers {
		publishers.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
					if !l.publish(servers[rand.IntN(len(servers))], channel) {
						time.Sleep(20 * time.Millisecond) // a back end tries again later
					}
				}
			}
		})
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range rounds {
		for range 4 {
			select {
			case list[random.IntN(readers)].drop <- struct{}{}:
			default:
			}
		}
		disturb(random, i)
		for _, s := range servers {
			pushdtest.Eventually(t, "messages get through", func() bool { return tryPublish(s, "probe", "x") })
		}
	}
	close(quit)
	publishers.Wait()
	told, recovered, returns, over := 0, 0, 0, 0
	pushdtest.Eventually(t, "everybody has come to the end", func() bool {
		for channel := range ledgers { // again, for those who were told of a gap in its place
			tryPublish(servers[0], channel, endText)
		}
		for {
			select {
			case err := <-errs:
				if over++; err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			case <-time.After(100 * time.Millisecond):
				return over == readers
			}
		}
	})
	for _, r := range list {
		told, recovered, returns = told+r.told, recovered+r.recovered, returns+r.returns
	}
	t.Logf("%s: %d returns, %d joins recovered, %d told that not", store, returns, recovered, told)
	if recovered == 0 || store == "disk" && told > 0 { // a NATS server that begins anew may have lost its end: then all are told
		t.Errorf("%d recovered, %d told that not", recovered, told)
	}
}

// TestNoLiesOfRules: whatever a reload changes of a channel's history, also that
// there is one at all, and whatever is purged, nobody misses a message without being
// told.
func TestNoLiesOfRules(t *testing.T) {
	rounds, stores := 5, []string{"disk"}
	if os.Getenv("PUSHD_TEST_FULL") != "" {
		rounds, stores = 60, append(stores, "memory")
	}
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			text := func(rule string) string {
				return strings.Replace(config, "history = 100\nage = \"1h\"", rule, 1) + "[history]\nstore = \"" + store + "\"\n"
			}
			s := start(t, text("history = 100"))
			lies(t, "rules", rounds, 1, []*pushdtest.Server{s}, func(random *rand.Rand, round int) {
				rules := []string{"history = 0", "history = 3", "history = 100", "history = 5000\nage = \"1s\"", "history = 5000"}
				switch n := random.IntN(len(rules) + 2); n {
				case len(rules):
					t.Log("purge")
					ask(t, s, "DELETE", "/v1/history", url.Values{"channel": {"room0"}}, "")
				case len(rules) + 1:
					disturb(t, s, text(rules[2]), 0, round)
				default:
					t.Log(rules[n])
					s.WriteConfig(text(rules[n]))
					s.MustRun("reload")
				}
			})
		})
	}
}

// disturb kills or replaces something.
func disturb(t *testing.T, s *pushdtest.Server, text string, what, round int) {
	status := s.Status()
	t.Logf("%s round %d: %s", time.Now().UTC().Format("05.000"), round, []string{"kill the broker process", "reload", "kill a worker", "kill a worker"}[what])
	switch what {
	case 0:
		s.Kill(status.Broker.PID)
		pushdtest.Eventually(t, "another broker process", func() bool { return s.Status().Broker.PID != status.Broker.PID })
	case 1:
		s.WriteConfig(fmt.Sprintf("drain = \"%ds\"\n", 6+round) + text)
		s.MustRun("reload")
	default:
		if pid := status.Workers[round%2].PID; pid > 0 {
			s.Kill(pid)
		}
	}
}
