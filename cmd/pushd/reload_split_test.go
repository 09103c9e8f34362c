package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// kinds is a server that speaks every protocol.
type kinds struct {
	*pushdtest.Server
	ws, text, frame, tcp, udp, unix string // addresses
}

func startKinds(t *testing.T, env ...string) *kinds {
	t.Helper()
	k := &kinds{unix: filepath.Join(t.TempDir(), "raw.sock")}
	for _, addr := range []*string{&k.ws, &k.text, &k.frame, &k.tcp, &k.udp} {
		*addr = pushdtest.FreeAddr(t)
	}
	k.Server = pushdtest.Start(t, pushdtest.Options{Package: "cmd/pushd/testdata/kinds", Config: `drain = "2s"`, Manual: true, Env: append(env,
		fmt.Sprintf("KINDS_LISTEN=websocket://%s text://%s frame://%s tcp://%s udp://%s unix://%s", k.ws, k.text, k.frame, k.tcp, k.udp, k.unix))})
	k.MustRun("start", "-d")
	return k
}

// splitter is a client that has sent a part of what it has to say.
type splitter struct {
	net.Conn
	stream []byte
	sent   int
}

// upTo sends the bytes before n.
func (d *splitter) upTo(t *testing.T, n int) {
	t.Helper()
	if _, err := d.Write(d.stream[d.sent:n]); err != nil {
		t.Fatalf("at byte %d of %d: %v", d.sent, len(d.stream), err)
	}
	d.sent = n
}

// streams are what clients say, by address: whole messages, one of them in
// fragments with a ping in between, and the handshake before them.
func (k *kinds) streams() map[string][]byte {
	ws := "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	first, ping, last := pushdtest.Frame(pushdtest.OpText, []byte("grüße ")), pushdtest.Frame(pushdtest.OpPing, []byte("ping")), pushdtest.Frame(0, []byte("aus München"))
	first[0] &^= 0x80 // not the last fragment
	return map[string][]byte{
		k.ws:    bytes.Join([][]byte{[]byte(ws), first, ping, last, pushdtest.Frame(pushdtest.OpBinary, slowMessage(7)[:300])}, nil),
		k.text:  []byte("a line\nand another one\r\n\nü\n"),
		k.frame: []byte("\x00\x00\x00\x09hello\x00\x00\x00\x04\x00\x00\x00\x0aworld!"),
		k.tcp:   []byte("raw\x00bytes"),
	}
}

// TestSplitAtEveryByte: for each protocol there is a client for each byte of a
// stream. Each has sent what is before that byte when a reload begins, and half
// of the rest when another one does. All get the same, to the byte.
func TestSplitAtEveryByte(t *testing.T) {
	t.Parallel()
	k := startKinds(t)
	want, clients := map[string][]byte{}, map[string][]*splitter{}
	var all []*splitter
	for addr, stream := range k.streams() {
		want[addr] = undisturbed(t, addr, stream)
		for range len(stream) + 1 {
			d := &splitter{Conn: dialAny(t, "tcp", addr), stream: stream}
			clients[addr], all = append(clients[addr], d), append(all, d)
		}
	}
	for _, list := range clients {
		for at, d := range list {
			d.upTo(t, at)
		}
	}
	k.readBy(t, all)
	for range 2 {
		if r := reload(t, k.Server); !r.OK || r.Moved != len(all) || r.Drained != 0 {
			t.Fatalf("%d clients: %+v", len(all), r)
		}
		for _, d := range all {
			d.upTo(t, d.sent+(len(d.stream)-d.sent+1)/2)
		}
	}
	for addr, list := range clients {
		for at, d := range list {
			d.upTo(t, len(d.stream))
			got := make([]byte, len(want[addr]))
			if n, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, want[addr]) {
				t.Fatalf("%s split at byte %d: got %d bytes, %v\n%q\nwant\n%q", addr, at, n, err, got[:n], want[addr])
			}
		}
	}
	t.Logf("%d clients", len(all))
}

// undisturbed returns what the server answers to a stream in one piece.
func undisturbed(t *testing.T, addr string, stream []byte) []byte {
	t.Helper()
	d := &splitter{Conn: dialAny(t, "tcp", addr), stream: stream}
	defer d.Close()
	d.upTo(t, len(stream))
	var got []byte
	buf := make([]byte, 64<<10)
	for !complete(stream, got) {
		n, err := d.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			t.Fatalf("%s answers %q, then %v", addr, got, err)
		}
	}
	return got
}

// complete says whether everything has come back: the last bytes of a stream
// are those of its last message, masked for the WebSocket.
func complete(stream, got []byte) bool {
	if bytes.HasPrefix(stream, []byte("GET ")) {
		return bytes.HasSuffix(got, slowMessage(7)[:300]) && bytes.Contains(got, []byte("grüße aus München"))
	}
	return bytes.HasSuffix(got, stream[len(stream)-3:])
}

func dialAny(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, addr, pushdtest.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * pushdtest.Timeout))
	return c
}

// readBy waits until the server has read all that the clients have sent.
func (k *kinds) readBy(t *testing.T, clients []*splitter) {
	t.Helper()
	sent := map[string]int{}
	for _, d := range clients {
		sent[d.LocalAddr().String()] = d.sent
	}
	pushdtest.Eventually(t, "the server has read what was sent", func() bool {
		read := 0
		for cursor := "start"; cursor != ""; {
			var page struct {
				Connections []struct {
					IP      string
					Port    int
					BytesIn int `json:"bytes_in"`
				}
				Cursor string
			}
			query := "?limit=1000&cursor=" + strings.TrimPrefix(cursor, "start")
			if _, err := call(k.Server, http.DefaultClient, http.MethodGet, "/v1/connections"+query, nil, &page); err != nil {
				t.Fatal(err)
			}
			cursor = page.Cursor
			for _, c := range page.Connections {
				if n, ok := sent[fmt.Sprintf("%s:%d", c.IP, c.Port)]; ok && n == c.BytesIn {
					read++
				}
			}
		}
		return read == len(sent)
	})
}
