package chat

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

const config = `
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
limits = { max_message = "4MiB" }
[worker.routes]
"/chat"   = "chat"
"/greet"  = { handler = "chat", options = { greet = true } }
"/single" = { handler = "chat", options = { rooms = false } }
`

func wantSame(t *testing.T, who string, c *pushdtest.Client, op byte, payload []byte) {
	t.Helper()
	if gotOp, got := c.Read(); gotOp != op || !bytes.Equal(got, payload) {
		t.Fatalf("%s: got opcode %d %.40q, want opcode %d %.40q", who, gotOp, got, op, payload)
	}
}

func TestEveryoneElseInEveryProcess(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	clients := slices.Concat(s.DialEach("/chat", 2)...)
	for i, from := range clients {
		op, payload := byte(pushdtest.OpText), []byte(fmt.Sprint("from ", i, " ✓"))
		if i%2 == 1 {
			op, payload = pushdtest.OpBinary, bytes.Repeat([]byte{byte(i), 0xff, 0}, 1000*i)
		}
		from.Send(op, payload)
		for j, to := range clients {
			if j != i { // the sender would read its own message in its next turn
				wantSame(t, fmt.Sprintf("client %d", j), to, op, payload)
			}
		}
	}
}

func TestRoomsAreApart(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	lobby, same := s.Dial("/chat"), s.Dial("/chat?room=")
	red, alsoRed, blue := s.Dial("/chat?room=red%20room"), s.Dial("/chat?x=1&room=red+room"), s.Dial("/chat?room=blue")
	ignored := s.Dial("/single?room=red%20room") // its rooms are off: this is the lobby

	red.SendText("red")
	alsoRed.WantText("red")
	lobby.SendText("lobby")
	same.WantText("lobby")
	ignored.WantText("lobby")
	blue.SendText("nobody hears this")
	alsoRed.SendText("red again")
	red.WantText("red again")
	same.SendText("back")
	lobby.WantText("back")

	if status, answer := s.Post("/v1/publish", map[string]any{"channel": "chat:blue", "data": "from the back end"}); status != http.StatusOK || answer["reached"] != 1.0 {
		t.Fatalf("publish to a room: %d %v", status, answer)
	}
	blue.WantText("from the back end")
}

// serve runs a chat of these options.
func serve(t *testing.T, options string) *workertest.Server {
	t.Helper()
	h, err := New(worker.Options(options))
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New()
	w.Handler, w.Limits.MaxMessage = h, 4<<20
	return workertest.Start(t, w)
}

func TestRoomNamesThatAreRefused(t *testing.T) {
	s := serve(t, "")
	for _, room := range []string{"%ff", "a%0ab", "%00", strings.Repeat("x", maxRoom+1)} {
		if status, _ := s.Handshake("/chat?room=" + room).Status(); status != http.StatusBadRequest {
			t.Errorf("room %s: %d", room, status)
		}
	}
	s.Dial("/chat?room=" + strings.Repeat("x", maxRoom))
}

func TestGreetings(t *testing.T) {
	s := serve(t, `{"greet":true}`)
	leaving, one, two := s.Dial("/greet"), s.Dial("/greet"), s.Dial("/greet")
	for _, c := range []*workertest.Client{leaving, one, two} {
		c.WantText(Welcome)
		c.WantNothing() // nobody hears of the others
	}
	leaving.Close(1000)
	one.WantText(Farewell)
	two.WantText(Farewell)
	one.SendText("who was that?")
	two.WantText("who was that?")
	one.WantNothing()
}

func TestMessageTooLargeForTheBroker(t *testing.T) {
	s := serve(t, "")
	c, other := s.Dial("/chat"), s.Dial("/chat")
	c.SendBinary(make([]byte, 2<<20))
	c.WantClose(1009)
	s.Dial("/chat").SendText("next")
	other.WantText("next")
}

// TestBrokerIsBusy: a message that is not taken is not lost in silence.
func TestBrokerIsBusy(t *testing.T) {
	bus := &workertest.Bus{}
	h, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := workertest.StartHandler(t, h, workertest.Options{Bus: bus})
	c := s.Dial("/")
	bus.Refuse(worker.ErrBrokerBusy)
	c.SendText("too much")
	c.WantClose(1013)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []string{`{"room":true}`, `{"rooms":"yes"}`, `[]`} {
		if _, err := New(worker.Options(o)); err == nil {
			t.Errorf("options %s are taken", o)
		}
	}
}

func FuzzRoom(f *testing.F) {
	for _, name := range []string{"", "red", "rot ✓", "\x00", "\xff", "a\nb", strings.Repeat("x", maxRoom+1)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		bad := len(name) > maxRoom || strings.ToValidUTF8(name, "") != name || strings.ContainsAny(name, "\x00\n\r\t\x1b\x7f\u0085")
		if bad && valid(name) {
			t.Errorf("%q is a room", name)
		}
	})
}

// TestRoomsThroughReloads: who was in a room still is, and only there.
func TestRoomsThroughReloads(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	red, blue, greeted := s.Dial("/chat?room=red"), s.Dial("/chat?room=blue"), s.Dial("/greet?room=red")
	greeted.WantText(Welcome)
	for range 2 {
		s.MustRun("reload")
		blue.SendText("nobody hears this")
		red.SendText("to red")
		greeted.WantText("to red")
		greeted.SendText("back")
		red.WantText("back")
	}
	greeted.Close()
	red.WantText(Farewell)
}
