package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// Pusher makes connections speak the Pusher Channels protocol.
type Pusher struct {
	Key    string `json:"key"`
	Secret string `json:"secret"`
	// Channel is one that all connections join; "" gives each connection Own
	// private channels that no other has.
	Channel string `json:"channel,omitempty"`
	Own     int    `json:"own,omitempty"`
}

// pusher is the dialect of the Pusher protocol: a connection is open once all its
// subscriptions have succeeded, and its messages are the data of events.
type pusher struct {
	entry // what is awaited are subscriptions, -1: the greeting
	env   *Env
	Pusher
	known   envelope
	names   int
	learned func(c *client.Conn, user string) // of each user that the server names, or nil
}

const (
	subscribed  = "pusher_internal:subscription_succeeded"
	memberAdded = "pusher_internal:member_added"
)

// event is a message of the protocol; data is a string in those of servers.
type event struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (p *pusher) around(load client.Handler) client.Handler {
	p.Handler = load
	return p
}

// Opened waits for the server's greeting.
func (p *pusher) Opened(c *client.Conn) { p.joining[c] = -1 }

func (p *pusher) Message(c *client.Conn, op client.Opcode, data []byte) {
	if text, ok := p.known.open(data); ok {
		p.Handler.Message(c, op, text)
		return
	}
	if user, ok := newcomer(data); ok {
		if p.learned != nil {
			p.learned(c, user)
		}
		return
	}
	var e event
	var text string
	if json.Unmarshal(data, &e) == nil && (e.Event == "pusher:error" || e.Event == "pusher:subscription_error") {
		p.refused[c] = string(data)
		p.env.Loop.Close(c)
		return
	}
	if json.Unmarshal(e.Data, &text) != nil && e.Event != subscribed { // where some servers have no data
		p.Handler.Message(c, op, data) // which finds that it is not what was sent
		return
	}
	switch e.Event {
	case "pusher:connection_established":
		p.subscribe(c, text)
	case subscribed:
		p.tell(c, text)
		p.joined(c)
	case "pusher:ping":
		p.env.Loop.Send(c, client.Text, []byte(`{"event":"pusher:pong","data":{}}`))
	case "pusher_internal:subscription_count", "pusher_internal:member_removed":
	default:
		p.known.learn(data, text)
		p.Handler.Message(c, op, []byte(text))
	}
}

// tell passes on whom the answer to a subscription names.
func (p *pusher) tell(c *client.Conn, data string) {
	var said struct {
		Presence struct {
			IDs []string `json:"ids"`
		} `json:"presence"`
	}
	if p.learned == nil || json.Unmarshal([]byte(data), &said) != nil {
		return
	}
	for _, user := range said.Presence.IDs {
		p.learned(c, user)
	}
}

// newcomer reads whom a member_added names, without a decoder: when a thousand
// join there are half a million of them. Our users need no escapes.
func newcomer(data []byte) (user string, ok bool) {
	if !bytes.Contains(data, []byte(memberAdded)) {
		return "", false
	}
	_, rest, ok := bytes.Cut(data, []byte(`user_id\":\"`))
	if !ok {
		return "", false
	}
	name, _, ok := bytes.Cut(rest, []byte(`\"`))
	return string(name), ok
}

// subscribe answers the greeting with all subscriptions of the connection.
func (p *pusher) subscribe(c *client.Conn, greeting string) {
	var hello struct {
		SocketID string `json:"socket_id"`
	}
	if json.Unmarshal([]byte(greeting), &hello) != nil || hello.SocketID == "" {
		p.env.Loop.Close(c)
		return
	}
	channels := []string{p.Channel}
	if p.Channel == "" {
		channels = channels[:0]
		for range max(p.Own, 1) {
			p.names++
			channels = append(channels, fmt.Sprintf("private-%d-%d-%d", p.env.Run, p.env.Agent, p.names))
		}
	}
	p.joining[c] = len(channels)
	for _, channel := range channels {
		request, err := json.Marshal(event{Event: "pusher:subscribe", Data: p.subscription(hello.SocketID, channel)})
		if err == nil { // it is: strings only
			p.env.Loop.Send(c, client.Text, request)
		}
	}
}

// subscription is the data of a request for a channel: signed, and in a
// presence channel with a user of its own.
func (p *pusher) subscription(socket, channel string) json.RawMessage {
	request := struct {
		Channel string `json:"channel"`
		Auth    string `json:"auth"`
		Data    string `json:"channel_data,omitempty"`
	}{Channel: channel}
	signed := socket + ":" + channel
	if strings.HasPrefix(channel, "presence-") {
		p.names++
		request.Data = fmt.Sprintf(`{"user_id":"%d-%d"}`, p.env.Agent, p.names)
		signed += ":" + request.Data
	}
	request.Auth = p.Key + ":" + p.sign(signed)
	text, _ := json.Marshal(request)
	return text
}

// sign is the signature of the protocol: HMAC-SHA256 in hex.
func (p Pusher) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(p.Secret))
	_, _ = mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}
