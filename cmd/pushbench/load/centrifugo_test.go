package load

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// heard is a load that writes down what reaches it.
type heard struct{ events []string }

func (h *heard) Opened(*client.Conn) { h.events = append(h.events, "opened") }
func (h *heard) Message(_ *client.Conn, _ client.Opcode, data []byte) {
	h.events = append(h.events, string(data))
}
func (h *heard) Closed(_ *client.Conn, err error) { h.events = append(h.events, fmt.Sprint(err)) }

// TestCentrifugo: the load hears that a connection is in its channel, then the data
// of publications, however many lines a frame has, and nothing of the rest.
func TestCentrifugo(t *testing.T) {
	loop, err := client.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	load, c := &heard{}, &client.Conn{} // which is not open, so that what is sent goes nowhere
	d := &centrifugo{entry: newEntry(), env: &Env{Loop: loop}, channel: "a"}
	h := d.around(load)
	h.Opened(c)
	for _, frame := range []string{
		`{"id":1,"connect":{"client":"x","ping":25,"pong":true}}`,
		`{"id":2,"subscribe":{}}`,
		`{}`,
		`{"push":{"channel":"a","pub":{"data":"one"}}}`,
		`{"push":{"channel":"a","pub":{"data":"two"}}}` + "\n{}\n" + `{"push":{"channel":"a","pub":{"data":"thr\u0065e"}}}` + "\n",
		`{"push":{"channel":"a","pub":{"data":{"no":"string"}}}}`,
		`no JSON`,
	} {
		h.Message(c, client.Text, []byte(frame))
	}
	h.Closed(c, nil)
	if want := []string{"opened", "one", "two", "three", `{"push":{"channel":"a","pub":{"data":{"no":"string"}}}}`, "no JSON", "<nil>"}; !slices.Equal(load.events, want) {
		t.Errorf("%q, want %q", load.events, want)
	}
}
