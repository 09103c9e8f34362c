package load

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// centrifugo is the dialect of Centrifugo's bidirectional protocol in JSON: a
// connection is open once it is in its channel, and its messages are the data of
// the channel's publications.
type centrifugo struct {
	entry
	env     *Env
	channel string
	known   envelope
}

// Commands carry a number, which the replies repeat.
const (
	connectID   = 1
	subscribeID = 2
)

func (d *centrifugo) around(load client.Handler) client.Handler {
	d.Handler = load
	return d
}

// Opened says hello; the answer is asked for the channel.
func (d *centrifugo) Opened(c *client.Conn) {
	d.joining[c] = 1
	d.send(c, `{"id":%d,"connect":{}}`, connectID)
}

// Message takes a frame, which holds one line or more.
func (d *centrifugo) Message(c *client.Conn, op client.Opcode, data []byte) {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		if text, ok := d.known.open(line); ok {
			d.Handler.Message(c, op, text)
			continue
		}
		d.line(c, op, line)
	}
}

// line takes what is no publication like the last one.
func (d *centrifugo) line(c *client.Conn, op client.Opcode, line []byte) {
	var said struct {
		ID    int             `json:"id"`
		Error json.RawMessage `json:"error"`
		Push  *struct {
			Pub *struct {
				Data json.RawMessage `json:"data"`
			} `json:"pub"`
		} `json:"push"`
	}
	var text string
	switch err := json.Unmarshal(line, &said); {
	case err != nil:
		d.Handler.Message(c, op, line) // which finds that it is not what was sent
	case said.Error != nil:
		d.refused[c] = string(line)
		d.env.Loop.Close(c)
	case said.ID == connectID:
		channel, _ := json.Marshal(d.channel)
		d.send(c, `{"id":%d,"subscribe":{"channel":%s}}`, subscribeID, channel)
	case said.ID == subscribeID && d.joining[c] > 0:
		d.joined(c)
	case said.Push == nil && said.ID == 0: // {}: is anybody there?
		d.send(c, "{}")
	case said.Push != nil && said.Push.Pub != nil && json.Unmarshal(said.Push.Pub.Data, &text) == nil:
		d.known.learn(line, text)
		d.Handler.Message(c, op, []byte(text))
	default:
		d.Handler.Message(c, op, line)
	}
}

func (d *centrifugo) send(c *client.Conn, format string, a ...any) {
	d.env.Loop.Send(c, client.Text, fmt.Appendf(nil, format, a...))
}
