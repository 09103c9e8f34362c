package echo_test

import (
	"bytes"
	"testing"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/echo"
	"github.com/pushd/pushd/worker/workertest"
)

func TestSamePayloadSameOpcode(t *testing.T) {
	h, err := echo.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := workertest.StartHandler(t, h).Dial("/echo")
	c.WantNothing() // the first thing it hears is its own first message
	for _, payload := range [][]byte{nil, []byte("hello ✓"), bytes.Repeat([]byte("x"), 64<<10), {0, 0xff, 0xfe}} {
		c.SendBinary(payload)
		if m := c.Read(); !m.Binary || !bytes.Equal(m.Data, payload) {
			t.Fatalf("sent %d bytes as binary, got %d, binary %v", len(payload), len(m.Data), m.Binary)
		}
		if text := string(payload); bytes.IndexByte(payload, 0xff) < 0 {
			c.SendText(text)
			c.WantText(text)
		}
	}
}

func TestTakesNoOptions(t *testing.T) {
	if _, err := echo.New(worker.Options(`{"loud":true}`)); err == nil {
		t.Fatal("an unknown option is no error")
	}
}
