package channel_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/channel"
)

// TestOf is the meaning of the rules, name by name.
func TestOf(t *testing.T) {
	rules := channel.Rules{
		{Match: "chat-vip", App: "1", History: new(500)},
		{Match: "chat-*", App: "1", History: new(100), Age: time.Minute},
		{Match: "private-note*", App: "1", History: new(7)},
		{Match: "post*", App: "1", Exact: true, History: new(3)},
		{Match: "price.*", Mode: channel.Latest, Slow: channel.SlowLatest},
		{Match: "room:quiet*", History: new(0)},
		{Match: "room:*", History: new(10), Slow: channel.SlowClose},
		{Match: "1:raw-*", History: new(4)},
		{Match: "*", App: "2", Slow: channel.SlowDropOldest},
	}
	stream := func(n int, age time.Duration) channel.Policy {
		return channel.Policy{History: n, Age: age, Mode: channel.Stream}
	}
	for name, want := range map[string]channel.Policy{
		"1:chat-vip":                 stream(500, time.Minute), // its age is the second rule's
		"1:presence-chat-vip":        stream(500, time.Minute),
		"1:chat-vips":                stream(100, time.Minute),
		"1:private-chat-1":           stream(100, time.Minute),
		"1:private-encrypted-chat-1": stream(100, time.Minute),
		"1:private-private-chat-1":   {},
		"1:presence-cache-chat-1":    {},
		"chat-1":                     {},
		"11:chat-1":                  {},
		"1:":                         {},
		"1":                          {},
		"":                           {},
		"1:private-notes":            stream(7, channel.DefaultAge),
		"1:notes":                    {},
		"1:presence-notes":           {},
		"1:post-1":                   stream(3, channel.DefaultAge),
		"1:private-post-1":           {},
		"1:raw-1":                    stream(4, channel.DefaultAge),
		"1:private-raw-1":            {},
		"price.eur":                  {History: 1, Age: channel.DefaultAge, Mode: channel.Latest, Slow: channel.SlowLatest},
		"price":                      {},
		"room:quiet-1":               {Slow: channel.SlowClose},
		"room:1":                     {History: 10, Age: channel.DefaultAge, Mode: channel.Stream, Slow: channel.SlowClose},
		"2:anything":                 {Slow: channel.SlowDropOldest},
		"2:#server-to-user-5":        {Slow: channel.SlowDropOldest},
		"2:presence-" + strings.Repeat("x", 1<<10): {Slow: channel.SlowDropOldest},
	} {
		if got := rules.Of(name); got != want {
			t.Errorf("Of(%.40q) = %+v, want %+v", name, got, want)
		}
		if got, _ := rules.Trace(name); got != want {
			t.Errorf("Trace(%.40q) = %+v, want %+v", name, got, want)
		}
	}
	if _, from := rules.Trace("1:chat-vip"); from != (channel.Source{History: 0, Age: 1, Mode: -1, Slow: -1}) {
		t.Errorf("1:chat-vip has its rules from %+v", from)
	}
	if got := channel.Rules(nil).Of("1:chat-1"); got != (channel.Policy{}) {
		t.Errorf("no rules say %+v", got)
	}
}

// TestBare cuts one prefix, the longest.
func TestBare(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "private-a": "a", "private-encrypted-a": "a", "presence-a": "a", "private-encrypted": "encrypted",
		"private-cache-a": "cache-a", "private-presence-a": "presence-a", "pr": "pr", "": "", "private-": "",
	} {
		if got := channel.Bare(name); got != want {
			t.Errorf("Bare(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestTravels: what a program writes is what another reads.
func TestTravels(t *testing.T) {
	rules := channel.Rules{{Match: "a*", App: "1", Exact: true, History: new(0), Age: time.Hour, Mode: channel.Latest, Slow: channel.SlowClose}, {Match: "b", History: new(3)}}
	raw, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	var back channel.Rules
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if string(raw) != string(again) || back[0].History == nil || *back[0].History != 0 {
		t.Errorf("%s came back as %s", raw, again)
	}
}

// TestCheck names the rule and the key.
func TestCheck(t *testing.T) {
	for want, r := range map[string]channel.Rule{
		"0 match: \"\": write":                                                {History: new(1)},
		"0 match: \"a*b\": write":                                             {Match: "a*b", History: new(1)},
		"0 match: \"a\\nb\": at most 256":                                     {Match: "a\nb", History: new(1)},
		"0 match: \"\\xff\": at most":                                         {Match: "\xff", History: new(1)},
		"0 match: \"" + strings.Repeat("a", 256) + "…\"":                      {Match: strings.Repeat("a", 1<<20), History: new(1)},
		"0 exact: counts with app":                                            {Match: "a", Exact: true, History: new(1)},
		"0 : match = \"a\" says nothing":                                      {Match: "a"},
		"0 history: 10001: a channel keeps":                                   {Match: "a", History: new(10_001)},
		"0 history: -1: a channel keeps":                                      {Match: "a", History: new(-1)},
		"0 age: 999ms: messages are kept":                                     {Match: "a", Age: 999 * time.Millisecond},
		"0 age: -1s: messages are kept":                                       {Match: "a", Age: -time.Second},
		"0 mode: \"cache\": use \"stream\"":                                   {Match: "a", Mode: "cache"},
		"0 slow: slow = \"never\": use":                                       {Match: "a", Slow: "never"},
		"0 slow: \"latest\" forgets messages of match = \"a\", and they have": {Match: "a", History: new(1), Slow: channel.SlowLatest},
	} {
		faults := channel.Rules{r}.Check()
		if len(faults) != 1 {
			t.Errorf("%+v: %d faults, want %q", r, len(faults), want)
			continue
		}
		f := faults[0]
		if got := fmt.Sprintf("%d %s: %v", f.Rule, f.Key, &f); !strings.HasPrefix(got, want) || len(got) > 600 {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if faults := make(channel.Rules, channel.MaxRules+1).Check(); len(faults) != 1 {
		t.Errorf("too many rules: %v", faults)
	}
	if faults := (channel.Rules{{Match: "*", Slow: channel.SlowLatest}, {Match: "a", History: new(1), Mode: channel.Latest}}).Check(); faults != nil {
		t.Errorf("a latest channel may forget: %v", faults)
	}
}

// TestTorn finds a promise and its breach that stand in different rules.
func TestTorn(t *testing.T) {
	for _, c := range []struct {
		rules channel.Rules
		at    int // of the fault, -1 = none
	}{
		{channel.Rules{{Match: "*", App: "1", Slow: channel.SlowLatest}, {Match: "chat-*", App: "1", History: new(9)}}, 0},
		{channel.Rules{{Match: "private-chat-*", App: "1", Slow: channel.SlowLatest}, {Match: "*", App: "1", History: new(9)}}, 0},
		{channel.Rules{{Match: "a*", App: "1", History: new(9)}, {Match: "private-*", App: "1", Slow: channel.SlowLatest}}, 1},
		{channel.Rules{{Match: "chat-*", App: "1", Slow: channel.SlowClose}, {Match: "*", App: "1", Slow: channel.SlowLatest}, {Match: "chat-*", App: "1", History: new(9)}}, -1},
		{channel.Rules{{Match: "a*", Slow: channel.SlowDropOldest}, {Match: "b*", History: new(9)}}, -1},
		{channel.Rules{{Match: "a*", History: new(0)}, {Match: "*", History: new(9)}, {Match: "ab", Slow: channel.SlowDropOldest}}, -1},
		{channel.Rules{{Match: "a*", History: new(0)}, {Match: "*", History: new(9)}, {Match: "b", Slow: channel.SlowDropOldest}}, 2},
	} {
		faults := c.rules.Check()
		if c.at < 0 && faults != nil || c.at >= 0 && (len(faults) != 1 || faults[0].Rule != c.at || faults[0].Key != "slow") {
			t.Errorf("%+v: %+v, want one in rule %d", c.rules, faults, c.at)
		}
	}
}

// TestIdle finds what nobody will ever ask.
func TestIdle(t *testing.T) {
	valid := func(name string) bool { return !strings.ContainsAny(name, ": ") }
	for want, rules := range map[string]channel.Rules{
		"":                                       {{Match: "a*", History: new(1)}, {Match: "*", History: new(2)}, {Match: "a*", Age: time.Hour}},
		"1 match = \"ab\" is never asked":        {{Match: "a*", History: new(1)}, {Match: "ab", History: new(2)}},
		"2 match = \"a*\" is never asked":        {{Match: "a*", History: new(1)}, {Match: "*", Age: time.Hour}, {Match: "a*", History: new(1), Age: time.Hour}},
		"1 match = \"private-a\" is never asked": {{Match: "*", App: "1", History: new(1)}, {Match: "private-a", App: "1", History: new(2)}},
		"0 no channel has match = \"a\": there is no [[app]]":   {{Match: "a", App: "2", History: new(1)}},
		"0 no channel has match = \"a:b*\": channels of an app": {{Match: "a:b*", App: "1", History: new(1)}},
		"0 match = \"presence-a\" is of no app":                 {{Match: "presence-a", History: new(1)}},
	} {
		var got string
		for _, f := range rules.Idle([]string{"1"}, valid) {
			got += fmt.Sprint(f.Rule, " ", f.Err)
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", rules, got, want)
		}
	}
	// One rule for private channels alone leaves the others to the next.
	if f := (channel.Rules{{Match: "private-a*", App: "1", History: new(1)}, {Match: "a*", App: "1", History: new(2)}}).Idle([]string{"1"}, valid); f != nil {
		t.Errorf("%+v", f)
	}
}

// TestOfAllocs: a channel without a rule costs a look at each and no memory.
func TestOfAllocs(t *testing.T) {
	rules := channel.Rules{{Match: "chat-*", App: "1", History: new(100)}, {Match: "room:*", History: new(9)}}
	var p channel.Policy
	if n := testing.AllocsPerRun(100, func() {
		p = rules.Of("1:private-news")
		p = rules.Of("1:private-chat-1")
		p = rules.Of("lobby")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if p != (channel.Policy{}) {
		t.Error(p)
	}
}

// FuzzOf: any rules that pass the check answer for any name, the same way twice.
func FuzzOf(f *testing.F) {
	f.Add("1", "chat-*", "1:private-chat-1", false)
	f.Add("", "*", "\x00", true)
	f.Add("private-", "private-*", "private-:presence-", false)
	f.Fuzz(func(t *testing.T, app, match, name string, exact bool) {
		rules := channel.Rules{{Match: match, App: app, Exact: exact, History: new(1)}, {Match: "*", Age: time.Hour}}
		if rules.Check() != nil {
			return
		}
		p := rules.Of(name)
		if traced, from := rules.Trace(name); traced != p || (from.History == 0) != rules[0].Matches(name) {
			t.Errorf("%q of %q %q: %+v, traced %+v from %+v", name, app, match, p, traced, from)
		}
		rules.Idle(nil, func(string) bool { return true })
	})
}
