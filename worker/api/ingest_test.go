package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// dial connects to an ingest address.
func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func (w *fakeWorker) received(i int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.conns[i].got)
}

func TestIngestStream(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			st := newStage(t)
			w := st.worker("push/0/1", conn("1.1", "42", "news"))
			address := filepath.Join(t.TempDir(), "s")
			if network == "tcp" {
				address = "127.0.0.1:0"
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- st.api.ServeIngest(ln, IngestOptions{Key: "s3cret"}) }()
			c := dial(t, network, ln.Addr().String())
			var want []string
			for i := range 1000 {
				target := []string{`"channel":"news"`, `"uid":"42"`, `"connections":["1.1"]`, `"broadcast":true`, `"broadcast":true,"worker":"push"`}[i%5]
				fmt.Fprintf(c, `{%s,"data":"%d","key":"s3cret"}`+"\r\n", target, i)
				want = append(want, fmt.Sprintf("text:%d", i))
			}
			testkit.Eventually(t, "all delivered", func() bool { return len(w.received(0)) >= len(want) })
			if got := w.received(0); !slices.Equal(got, want) {
				t.Errorf("out of order: %q", got)
			}
			refusals := bufio.NewScanner(c)
			for _, x := range []struct{ line, want string }{
				{`{"channel":"news","data":"payload-77"}`, `{"error":"key is missing or wrong","field":"key"}`},
				{`{"channel":"news","data":1,"key":"s3cret-not"}`, `{"error":"key is missing or wrong","field":"key"}`},
				{`{"channel":"news","data":1,"key":7}`, `{"error":"key is missing or wrong","field":"key"}`},
				{`{"key":"s3cret","data":1}`, `{"error":"no target: channel(s), uid(s), connection(s) or \"broadcast\":true is needed","field":"channel"}`},
				{`{"key":"s3cret","broadcast":false,"data":1}`, `{"error":"broadcast: must be true","field":"broadcast"}`},
				{`{"key":"s3cret","channel":"a"}`, `{"error":"data or data_base64 is needed","field":"data"}`},
				{`{"key":"s3cret","uid":4.2,"data":1}`, `{"error":"uid: must be a string or a whole number","field":"uid"}`},
			} {
				fmt.Fprintln(c, x.line)
				if !refusals.Scan() || refusals.Text() != x.want {
					t.Errorf("%s\n got %s\nwant %s", x.line, refusals.Text(), x.want)
				}
			}
			go func() { c.Write([]byte(strings.Repeat("x", maxBody+3))) }()
			if !refusals.Scan() || refusals.Text() != `{"error":"line is over 1 MiB"}` {
				t.Errorf("giant line: %s", refusals.Text())
			}
			if refusals.Scan() {
				t.Errorf("after a giant line: %s", refusals.Text())
			}
			got := fmt.Sprint(st.api.ingest.refusals())
			if got != "map[invalid:4 key:3 size:1]" {
				t.Errorf("refused %s", got)
			}
			for _, secret := range []string{"s3cret", "payload-77"} {
				if strings.Contains(st.log.String(), secret) {
					t.Errorf("log has %q: %s", secret, st.log)
				}
			}
			if lines := strings.Count(st.log.String(), "ingest refused"); lines == 0 || lines > 5 {
				t.Errorf("%d log lines of 8 refusals within a second or so", lines)
			}
			if err := st.api.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Errorf("ServeIngest: %v", err)
			}
		})
	}
}

func TestIngestDatagrams(t *testing.T) {
	st := newStage(t)
	w := st.worker("push/0/1", conn("1.1", "42", "news"))
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- st.api.ServeIngestPackets(pc, IngestOptions{}) }()
	c := dial(t, "udp", pc.LocalAddr().String())
	count := func(cause string) uint64 { return st.api.ingest.refusals()[cause] }

	fmt.Fprintln(c, `{"channel":"news","data":{"n":1}}`)
	fmt.Fprint(c, `{"uid":"42","data_base64":"AP8=","key":"not asked for"}`)
	testkit.Eventually(t, "delivered", func() bool { return len(w.received(0)) == 2 })
	if got := w.received(0); !slices.Equal(got, []string{`text:{"n":1}`, "binary:\x00\xff"}) {
		t.Errorf("got %q", got)
	}
	fmt.Fprint(c, "")
	fmt.Fprint(c, `{"channel":"news","data":1}{"channel":"news","data":2}`)
	fmt.Fprint(c, "\xff\xfe")
	testkit.Eventually(t, "three refusals", func() bool { return count(causeSyntax) == 3 })
	fmt.Fprint(c, `{"to":"news"}`)
	testkit.Eventually(t, "no target", func() bool { return count(causeInvalid) == 1 })

	st.bus.Close()
	testkit.Eventually(t, "away", func() bool {
		fmt.Fprint(c, `{"channel":"news","data":3}`)
		return count(causeAway) > 0
	})
	if err := st.api.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("ServeIngestPackets: %v", err)
	}
}

// closing is a datagram socket that end is called at when the first one is read.
type closing struct {
	net.PacketConn
	end func()
}

func (c *closing) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	c.end()
	return n, from, err
}

// TestLastDatagramCounts: one that was read at the moment of the end is nobody
// else's to publish.
func TestLastDatagramCounts(t *testing.T) {
	st := newStage(t)
	w := st.worker("push/0/1", conn("1.1", "42", "news"))
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- st.api.ServeIngestPackets(&closing{pc, st.api.ingest.close}, IngestOptions{}) }()
	fmt.Fprint(dial(t, "udp", pc.LocalAddr().String()), `{"channel":"news","data":1}`)
	if err := <-done; err != nil {
		t.Errorf("ServeIngestPackets: %v", err)
	}
	testkit.Eventually(t, "delivered", func() bool { return slices.Equal(w.received(0), []string{"text:1"}) })
}

// proven connects and has an object taken.
func proven(t *testing.T, st *stage, addr string) net.Conn {
	t.Helper()
	taken := st.api.ingest.published.Load()
	c := dial(t, "tcp", addr)
	fmt.Fprintln(c, `{"channel":"a","data":1,"key":"k"}`)
	testkit.Eventually(t, "taken", func() bool { return st.api.ingest.published.Load() > taken })
	return c
}

// lastLine reads until the peer closes and returns the last line.
func lastLine(c net.Conn) (last string) {
	for lines := bufio.NewScanner(c); lines.Scan(); {
		last = lines.Text()
	}
	return last
}

const tooMany = `{"error":"too many ingest connections"}`

func TestIngestConnectionsAreBounded(t *testing.T) {
	st := newStage(t, func(o *Options) { o.IngestConnections, o.IngestIdle = 2, time.Hour })
	addr := st.listen(func(ln net.Listener) error { return st.api.ServeIngest(ln, IngestOptions{Key: "k"}) })
	first := proven(t, st, addr)
	proven(t, st, addr)
	if last := lastLine(dial(t, "tcp", addr)); last != tooMany {
		t.Errorf("third: %q", last)
	}
	if n := st.api.ingest.refusals()[causeConnections]; n != 1 {
		t.Errorf("%d counted", n)
	}
	first.Close()
	testkit.Eventually(t, "room again", func() bool {
		c := dial(t, "tcp", addr)
		defer c.Close()
		fmt.Fprintln(c, "x")
		return strings.Contains(lastLine(c), "not JSON")
	})
}

// TestSilenceKeepsNobodyOut: who has sent nothing that was taken gives way, the
// oldest first, and who has does not.
func TestSilenceKeepsNobodyOut(t *testing.T) {
	st := newStage(t, func(o *Options) { o.IngestConnections, o.IngestIdle = 4, time.Hour })
	addr := st.listen(func(ln net.Listener) error { return st.api.ServeIngest(ln, IngestOptions{Key: "k"}) })
	settled := proven(t, st, addr)
	places := func() int {
		st.api.ingest.mu.Lock()
		defer st.api.ingest.mu.Unlock()
		return len(st.api.ingest.places)
	}
	var silent []net.Conn
	for n := range 3 {
		silent = append(silent, dial(t, "tcp", addr))
		testkit.Eventually(t, "it has its place", func() bool { return places() == n+2 })
	}
	fmt.Fprintln(silent[0], `{"channel":"a","data":1,"key":"guess"}`) // proves nothing
	if line, _ := bufio.NewReader(silent[0]).ReadString('\n'); !strings.Contains(line, "wrong") {
		t.Errorf("a guess: %q", line)
	}
	for i := range 3 {
		proven(t, st, addr)
		if last := lastLine(silent[i]); last != tooMany {
			t.Errorf("silent %d: %q", i, last)
		}
	}
	taken := st.api.ingest.published.Load()
	fmt.Fprintln(settled, `{"channel":"a","data":1,"key":"k"}`)
	testkit.Eventually(t, "who had proved itself stays", func() bool { return st.api.ingest.published.Load() > taken })
	if last := lastLine(dial(t, "tcp", addr)); last != tooMany {
		t.Errorf("all are proven, one more: %q", last)
	}
	if n := places(); n != 4 {
		t.Errorf("%d places taken", n)
	}
}

// TestNoPeerHasAllPlaces: of one address there are at most nine of ten.
func TestNoPeerHasAllPlaces(t *testing.T) {
	var in ingest
	in.init()
	enter := func(addr string, proven bool) (*place, *place, bool) {
		a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))
		return in.enter(&addressed{addr: a}, 10, proven)
	}
	for i := range 9 {
		if _, _, ok := enter(fmt.Sprintf("[2001:db8::%d]:1", i), true); !ok {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if _, _, ok := enter("[2001:db8::ffff]:1", true); ok {
		t.Error("a network has all places")
	}
	other, evicted, ok := enter("[2001:db8:0:1::1]:1", false)
	if !ok || evicted != nil {
		t.Error("another network has none")
	}
	if _, evicted, ok = enter("192.0.2.1:1", false); !ok || evicted != other {
		t.Error("a full house: the silent one does not give way")
	}
	for p := range in.places {
		in.vacate(p)
		in.vacate(p)
	}
	if len(in.places)+len(in.peers) != 0 {
		t.Errorf("left: %d places, %v", len(in.places), in.peers)
	}
}

// addressed is a connection that only has an address.
type addressed struct {
	net.Conn
	addr net.Addr
}

func (a *addressed) RemoteAddr() net.Addr { return a.addr }

// TestForeignProtocolsPushNothing: a web page, or whatever fetches URLs for
// strangers, can send lines to any port of this machine, though not the first.
func TestForeignProtocolsPushNothing(t *testing.T) {
	for name, head := range map[string]string{
		"http": "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n",
		"tls":  "\x16\x03\x01\x02\x00\n", "list": "[]\n", "text": "\"x\"\n", "half": "{\"a\":\n",
	} {
		st := newStage(t)
		addr := st.listen(func(ln net.Listener) error { return st.api.ServeIngest(ln, IngestOptions{}) })
		c := dial(t, "tcp", addr)
		fmt.Fprint(c, head+"{\"broadcast\":true,\"data\":1}\n")
		_ = lastLine(c) // returns when the connection is closed
		if n := st.api.ingest.published.Load(); n != 0 {
			t.Errorf("%s: %d published", name, n)
		}
		if n := st.api.ingest.refusals()[causeSyntax]; n != 1 {
			t.Errorf("%s: refused %d", name, n)
		}
	}
}

// TestLongLinesShareRoom: many half-sent lines take no more than they may.
func TestLongLinesShareRoom(t *testing.T) {
	st := newStage(t)
	addr := st.listen(func(ln net.Listener) error { return st.api.ServeIngest(ln, IngestOptions{}) })
	st.api.ingest.long.Store(maxLong - 100<<10) // others hold it
	c := dial(t, "tcp", addr)
	go func() { _, _ = c.Write([]byte(`{"data":"` + strings.Repeat("x", 500<<10))) }()
	if last := lastLine(c); !strings.Contains(last, "try again") {
		t.Errorf("a line that there is no room for: %q", last)
	}
	c = dial(t, "tcp", addr)
	fmt.Fprintln(c, `{"channel":"a","data":"`+strings.Repeat("x", 100<<10)+`"}`)
	testkit.Eventually(t, "a shorter one", func() bool { return st.api.ingest.published.Load() == 1 })
	c.Close()
	testkit.Eventually(t, "the room is given back", func() bool { return st.api.ingest.long.Load() == maxLong-100<<10 })
}

func TestIdleIngestConnectionsEnd(t *testing.T) {
	st := newStage(t, func(o *Options) { o.IngestIdle = 20 * time.Millisecond })
	c := dial(t, "tcp", st.listen(func(ln net.Listener) error { return st.api.ServeIngest(ln, IngestOptions{}) }))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "EOF" {
		t.Errorf("read %d, %v; want the end", n, err)
	}
}

func FuzzIngest(f *testing.F) {
	for _, object := range []string{
		`{"channel":"a","data":"x","key":"k"}`, `{"key":"k","broadcast":true,"data":1}`, `{"key":"k","uids":["1"],"data_base64":"AA=="}`,
		`{"key":"wrong","channel":"a","data":1}`, `{"key":"k"}`, "{", "",
	} {
		f.Add([]byte(object))
	}
	feed := (&Server{}).newFeed(IngestOptions{Key: "k"})
	f.Fuzz(func(t *testing.T, object []byte) {
		ps, cause, err := feed.parse(object)
		if (err == nil) != (len(ps) > 0) || (err == nil) != (cause == "") {
			t.Fatalf("%d publications, cause %q, error %v", len(ps), cause, err)
		}
		var key struct{ Key string }
		if json.Unmarshal(object, &key); err == nil && !strings.Contains(string(object), "k") {
			t.Fatalf("taken without the key: %q", object)
		}
	})
}
