package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// The test program is the peers too, when told so.
func TestMain(m *testing.M) {
	if os.Getenv("PEER") == "" {
		os.Exit(m.Run())
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Every peer echoes, and passes a message unchanged to everyone in the room
// but its sender; what it does for ten connections it is measured with for more.
func TestPeersDoTheSame(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		t.Run(name, func(t *testing.T) {
			base := "ws://" + start(t, name)
			if strings.HasSuffix(name, "-tls") {
				base = "wss" + strings.TrimPrefix(base, "ws")
			}
			talk(t, base)
			echo := dial(t, base+"/echo")
			for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
				echo.say(op, "echo")
				echo.hears(op, "echo")
			}
		})
	}
}

func talk(t *testing.T, base string) {
	prober := dial(t, base+"/chat?room=a")
	members := make([]client, 10)
	for i := range members {
		members[i] = dial(t, base+"/chat?room=a")
		members[i].joined(prober)
	}
	stranger := dial(t, base+"/chat?room=b")
	for i, sender := range members {
		sender.say(ws.OpText, fmt.Sprint("from ", i))
		for k, member := range members {
			if k != i {
				member.hears(ws.OpText, fmt.Sprint("from ", i))
			}
		}
	}
	members[0].say(ws.OpBinary, "last")
	members[1].hears(ws.OpBinary, "last")
	members[0].hearsNothing()
	stranger.hearsNothing()
}

// client is one connection; what it reads may take ten seconds.
type client struct {
	*testing.T
	net.Conn
}

func dial(t *testing.T, url string) client {
	t.Helper()
	d := ws.Dialer{TLSConfig: &tls.Config{InsecureSkipVerify: true}} // a peer makes its certificate itself
	c, _, _, err := d.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return client{t, c}
}

const probe = "probe"

// joined lets another talk until this one hears it: a handshake may be
// answered a moment before its connection is in the room.
func (c client) joined(other client) {
	c.Helper()
	for range 200 {
		other.say(ws.OpText, probe)
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if data, err := wsutil.ReadServerText(c); err == nil && string(data) == probe {
			return
		}
	}
	c.Fatal("a member never joined its room")
}

func (c client) say(op ws.OpCode, text string) {
	c.Helper()
	if err := wsutil.WriteClientMessage(c, op, []byte(text)); err != nil {
		c.Fatal(err)
	}
}

func (c client) hears(op ws.OpCode, text string) {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		data, got, err := wsutil.ReadServerData(c)
		if err == nil && string(data) == probe {
			continue
		}
		if err != nil || got != op || string(data) != text {
			c.Fatalf("got %v %q, %v; want %v %q", got, data, err, op, text)
		}
		return
	}
}

// hearsNothing waits a little for what must not come.
func (c client) hearsNothing() {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	for {
		data, _, err := wsutil.ReadServerData(c)
		if err != nil {
			return
		}
		if string(data) != probe {
			c.Fatalf("got %q, which is not for this one", data)
		}
	}
}

// start runs a peer and returns its address once it accepts.
func start(t *testing.T, name string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.CommandContext(context.Background(), os.Args[0], name, "--listen", addr)
	cmd.Env, cmd.Stderr = append(os.Environ(), "PEER=1"), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s says %q: %v", name, line, err)
	}
	return addr
}
