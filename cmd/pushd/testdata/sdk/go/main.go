// The app's back end with pusher-http-go: a line of JSON says what to call, a
// line of JSON is what the SDK made of it.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/pusher/pusher-http-go/v5"
)

type call struct {
	Call, Event, User, Name, Channel, Prefix, Key, Signature, Body string

	SocketID string `json:"socket_id"`
	Info     *string
	Channels []string
	Data     any
	Batch    []struct {
		Channel, Name string
		Data          any
		Info          *string
	}
}

var sdk = &pusher.Client{
	AppID: os.Getenv("APP_ID"), Key: os.Getenv("APP_KEY"), Secret: os.Getenv("APP_SECRET"),
	Host: "127.0.0.1:" + os.Getenv("PORT"),
}

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var c call
		if in.Decode(&c) != nil {
			return
		}
		answer, err := c.do()
		if err != nil {
			out.Encode(map[string]any{"error": err.Error()})
		} else {
			out.Encode(map[string]any{"answer": answer})
		}
	}
}

func (c *call) do() (any, error) {
	switch c.Call {
	case "trigger":
		params := pusher.TriggerParams{Info: c.Info}
		if c.SocketID != "" {
			params.SocketID = &c.SocketID
		}
		if len(c.Channels) == 1 {
			return sdk.TriggerWithParams(c.Channels[0], c.Event, c.Data, params)
		}
		return sdk.TriggerMultiWithParams(c.Channels, c.Event, c.Data, params)
	case "triggerBatch":
		var batch []pusher.Event
		for _, e := range c.Batch {
			batch = append(batch, pusher.Event{Channel: e.Channel, Name: e.Name, Data: e.Data, Info: e.Info})
		}
		return sdk.TriggerBatch(batch)
	case "sendToUser":
		return nil, sdk.SendToUser(c.User, c.Event, c.Data)
	case "getChannels":
		return sdk.Channels(pusher.ChannelsParams{FilterByPrefix: &c.Prefix, Info: c.Info})
	case "getChannelInfo":
		return sdk.Channel(c.Channel, pusher.ChannelParams{Info: c.Info})
	case "getPresenceUsers":
		return sdk.GetChannelUsers(c.Channel)
	case "authorizeChannel":
		return raw(sdk.AuthorizePrivateChannel(form("socket_id", c.SocketID, "channel_name", c.Channel)))
	case "authorizePresenceChannel":
		member := pusher.MemberData{UserID: c.User, UserInfo: map[string]string{"name": c.Name}}
		return raw(sdk.AuthorizePresenceChannel(form("socket_id", c.SocketID, "channel_name", c.Channel), member))
	case "authenticateUser":
		return raw(sdk.AuthenticateUser(form("socket_id", c.SocketID), map[string]any{"id": c.User}))
	case "webhook":
		return c.webhook()
	}
	return nil, fmt.Errorf("this SDK has no call %s", c.Call)
}

func (c *call) webhook() (any, error) {
	names := []string{}
	hook, err := sdk.Webhook(http.Header{"X-Pusher-Key": {c.Key}, "X-Pusher-Signature": {c.Signature}}, []byte(c.Body))
	if err == nil {
		for _, e := range hook.Events {
			names = append(names, e.Name)
		}
	}
	return map[string]any{"valid": err == nil, "events": names}, nil
}

func raw(answer []byte, err error) (any, error) { return json.RawMessage(answer), err }

func form(pairs ...string) []byte {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return []byte(v.Encode())
}
