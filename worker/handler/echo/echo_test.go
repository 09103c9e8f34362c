package echo_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/echo"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

func TestSamePayloadSameOpcode(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: `
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/echo" = "echo" }
`})
	c := s.Dial("/echo") // the first thing it hears is its own first message
	for _, payload := range [][]byte{nil, []byte("hello ✓"), bytes.Repeat([]byte("x"), 64<<10)} {
		for _, op := range []byte{pushdtest.OpText, pushdtest.OpBinary} {
			c.Send(op, payload)
			if gotOp, got := c.Read(); gotOp != op || !bytes.Equal(got, payload) {
				t.Fatalf("sent opcode %d with %d bytes, got opcode %d with %d", op, len(payload), gotOp, len(got))
			}
		}
	}
	raw := []byte{0, 0xff, 0xfe} // no UTF-8
	c.Send(pushdtest.OpBinary, raw)
	if _, got := c.Read(); !bytes.Equal(got, raw) {
		t.Fatalf("got %x", got)
	}
}

func TestTakesNoOptions(t *testing.T) {
	if _, err := echo.New(worker.Options(`{"loud":true}`)); err == nil {
		t.Fatal("an unknown option is no error")
	}
}
