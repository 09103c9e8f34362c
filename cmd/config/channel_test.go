package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/channel"
)

// TestChannels reads every key of [[channel]] and [history].
func TestChannels(t *testing.T) {
	c := mustParse(t, "", none)
	if c.History != (History{256 << 20, "memory", 3}) || len(c.Channels) != 1 || c.Channels[0].At != "built-in default" || c.Rules().Of("chat:lobby").History != 20 {
		t.Errorf("defaults: %+v %+v", c.History, c.Channels)
	}
	c = mustParse(t, `
[history]
memory = "64MiB"
store = "disk"
[[channel]]
match = "chat-*"
app = "1"
exact = true
history = 100
age = "5m"
mode = "latest"
slow = "latest"
[[channel]]
match = "quiet"
history = 0
[[worker]]
routes = { "/chat" = "chat" }
`, none)
	if c.History != (History{64 << 20, "disk", 3}) {
		t.Errorf("%+v", c.History)
	}
	if c := mustParse(t, "[[channel]]\nmatch = \"chat:*\"\nhistory = 0\n", none); len(c.Channels) != 1 {
		t.Errorf("the config says what is kept of the room: %+v", c.Channels)
	}
	want := channel.Rules{
		{Match: "chat-*", App: "1", Exact: true, History: new(100), Age: 5 * time.Minute, Mode: channel.Latest, Slow: channel.SlowLatest},
		{Match: "quiet", History: new(0)},
	}
	if got := c.Rules(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if at := c.Channels[1].At; at != "/etc/pushd/pushd.toml:13: channel[1]" {
		t.Errorf("at %q", at)
	}
	if o := c.Services()[historyService]; len(o) != 1 || string(o[0]) != `{"memory":67108864,"store":"disk","replicas":3}` {
		t.Errorf("options of the service: %s", o)
	}
}

// TestChannelErrors name the line and the key.
func TestChannelErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[history]\nmemory = \"1KiB\"\n":                  "f.toml:2: history.memory: 1024 bytes: at least",
		"[history]\nstore = \"redis\"\n":                  "f.toml:2: history.store: \"redis\": use",
		"[history]\nsize = 1\n":                           "f.toml:2: history.size: unknown key",
		"[[channel]]\nhistory = 1\n":                      "channel[0].match: \"\": write",
		"[[channel]]\nmatch = \"a\"\n":                    "f.toml:1: channel[0]: match = \"a\" says nothing",
		"[[channel]]\nmatch = \"a\"\nage = 0\n":           "f.toml:3: channel[0].age: messages are kept",
		"[[channel]]\nmatch = \"a\"\nage = \"10ms\"\n":    "f.toml:3: channel[0].age: 10ms: messages are kept",
		"[[channel]]\nmatch = \"a\"\nhistory = \"all\"\n": "f.toml:3: channel[0].history: needs a whole number",
		"[[channel]]\nmatch = \"a\"\nhistory = 1\nslow = \"drop-oldest\"\nmode = \"stream\"\n": "f.toml:4: channel[0].slow: \"drop-oldest\" forgets messages",
		"[[channel]]\nmatch = \"a\"\nhitsory = 1\n":                                            "f.toml:3: channel[0].hitsory: unknown key (did you mean \"history\"?)",
	} {
		_, err := Parse(Source{Getenv: none}, "f.toml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestIdle: names of an app are judged as the Pusher protocol does.
func TestIdle(t *testing.T) {
	c := mustParse(t, `
[[app]]
id = "1"
key = "k"
secret = "s"
[[channel]]
match = "a:b"
app = "1"
history = 1
[[channel]]
match = "#server-to-user-*"
app = "1"
history = 1
[[channel]]
match = "private-encrypted-a"
history = 1
[[channel]]
match = "room.*"
history = 1
`, none)
	got := c.Idle()
	if len(got) != 2 || !strings.HasPrefix(got[0], "/etc/pushd/pushd.toml:6: channel[0]: no channel has") ||
		!strings.HasPrefix(got[1], "/etc/pushd/pushd.toml:14: channel[2]: match = \"private-encrypted-a\" is of no app") {
		t.Errorf("%q", got)
	}
}

// TestJetStream is a store of [broker] url alone.
func TestJetStream(t *testing.T) {
	store := "[history]\nstore = \"jetstream\"\nreplicas = 1\n"
	c := mustParse(t, "[broker]\nurl = \"nats://127.0.0.1:4222\"\n"+store, none)
	if c.History.Store != "jetstream" || c.History.Replicas != 1 {
		t.Errorf("%+v", c.History)
	}
	for text, want := range map[string]string{store: "set [broker] url", "[history]\nreplicas = 0\n": "1 to 5", "[history]\nreplicas = 6\n": "1 to 5"} {
		if _, err := Parse(Source{Getenv: none}, "pushd.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
