package pusher

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestChannelNames(t *testing.T) {
	for _, name := range []string{"a", "private-a", "news_1=@,.;-", "#", strings.Repeat("x", MaxChannel)} {
		if want := name != "#"; ValidChannel(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	for _, name := range []string{
		"", "a:b", "a b", "a*", "a>", "a\x00", "a\n", "ü", "a/b", "a%20", "#a", "a#", UserChannel("1"),
		strings.Repeat("x", MaxChannel+1),
	} {
		if ValidChannel(name) {
			t.Errorf("%q is accepted", name)
		}
	}
	for _, tc := range []struct {
		name                              string
		auth, presence, secret, cache, on bool
	}{
		{"news", false, false, false, false, false},
		{"private-x", true, false, false, false, true},
		{"presence-x", true, true, false, false, true},
		{"private-encrypted-x", true, false, true, false, false},
		{"cache-x", false, false, false, true, false},
		{"private-cache-x", true, false, false, true, true},
		{"private-encrypted-cache-x", true, false, true, true, false},
		{"presence-cache-x", true, true, false, true, true},
		{"a-cache-x", false, false, false, false, false},
		{"Private-x", false, false, false, false, false},
	} {
		if NeedsAuth(tc.name) != tc.auth || IsPresence(tc.name) != tc.presence || IsEncrypted(tc.name) != tc.secret ||
			IsCache(tc.name) != tc.cache || TakesClientEvents(tc.name) != tc.on {
			t.Errorf("%s is taken for something else", tc.name)
		}
	}
	if id, ok := UserOf("#server-to-user-a:b"); !ok || id != "a:b" {
		t.Errorf("user of %q: %v", id, ok)
	}
	for _, name := range []string{"#server-to-user-", "#server-to-user-a\n", "server-to-user-1", "#server-to-user-" + strings.Repeat("x", 129)} {
		if _, ok := UserOf(name); ok {
			t.Errorf("%q names a user", name)
		}
	}
}

func TestEventNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, `App\Events\OrderShipped`: true, "client-x": true, "été": true, strings.Repeat("x", 200): true,
		"": false, "pusher:ping": false, "pusher_internal:x": false, "a\x01": false, "\xff": false, strings.Repeat("x", 201): false,
	} {
		if ValidEvent(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if !IsClientEvent("client-x") || IsClientEvent("x") || IsClientEvent("client-\n") {
		t.Error("client events are told by their names")
	}
}

// TestEvents checks what is sent, byte by byte.
func TestEvents(t *testing.T) {
	a := Member{ID: "1", Info: json.RawMessage(`{"name":"A"}`)}
	for _, tc := range []struct {
		got  []byte
		want string
	}{
		{Established("123.456", 120),
			`{"event":"pusher:connection_established","data":"{\"socket_id\":\"123.456\",\"activity_timeout\":120}"}`},
		{Pong, `{"event":"pusher:pong","data":"{}"}`},
		{Error(4001, `no "x"`), `{"event":"pusher:error","data":{"code":4001,"message":"no \"x\""}}`},
		{Error(0, "m"), `{"event":"pusher:error","data":{"code":null,"message":"m"}}`},
		{Succeeded("a"), `{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{}"}`},
		{SubscriptionError("a", "AuthError", "no", 401),
			`{"event":"pusher:subscription_error","channel":"a","data":{"type":"AuthError","error":"no","status":401}}`},
		{SubscriptionCount("a", 3),
			`{"event":"pusher_internal:subscription_count","channel":"a","data":"{\"subscription_count\":3}"}`},
		{CacheMiss("cache-a"), `{"event":"pusher:cache_miss","channel":"cache-a"}`},
		{SigninSuccess(`{"id":"1"}`), `{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"1\\\"}\"}"}`},
		{Watchlist(Watch{"online", []string{"a", "b"}}, Watch{"offline", []string{"c"}}),
			`{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"a\",\"b\"]},{\"name\":\"offline\",\"user_ids\":[\"c\"]}]}"}`},
		{PresenceSucceeded("presence-a", []Member{a, {ID: "2"}}),
			`{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":2,\"ids\":[\"1\",\"2\"],\"hash\":{\"1\":{\"name\":\"A\"},\"2\":null}}}"}`},
		{PresenceSucceeded("presence-a", nil),
			`{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":0,\"ids\":[],\"hash\":{}}}"}`},
		{MemberAdded("presence-a", a),
			`{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"1\",\"user_info\":{\"name\":\"A\"}}"}`},
		{MemberRemoved("presence-a", Member{ID: "1"}),
			`{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"1\"}"}`},
		{PresenceSucceeded("presence-a", []Member{{ID: "7", Number: true}, {ID: "b"}}),
			`{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":2,\"ids\":[7,\"b\"],\"hash\":{\"7\":null,\"b\":null}}}"}`},
		{MemberAdded("presence-a", Member{ID: "7", Number: true}),
			`{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":7}"}`},
		{MemberRemoved("presence-a", Member{ID: "7", Number: true}),
			`{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":7}"}`},
		{Event("e", "c", "a\"\\\n\t\x01é\xff"), "{\"event\":\"e\",\"channel\":\"c\",\"data\":\"a\\\"\\\\\\n\\t\\u0001é\ufffd\"}"},
		{RawEvent("client-e", "presence-c", json.RawMessage(`{"x":1}`), Member{ID: "u"}),
			`{"event":"client-e","channel":"presence-c","data":{"x":1},"user_id":"u"}`},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("got  %s\nwant %s", tc.got, tc.want)
		}
		if !json.Valid(tc.got) {
			t.Errorf("not JSON: %s", tc.got)
		}
	}
}

// TestListed: an id is found in a list as it is told there, whatever stands in others.
func TestListed(t *testing.T) {
	others := []Member{{ID: `a"5"`}, {ID: `,5,`}, {ID: `],"hash":{`}, {ID: `"`}, {ID: "55"}, {ID: "5.0", Info: json.RawMessage(`"5"`)}}
	for _, number := range []bool{true, false} {
		for _, mine := range []bool{true, false} {
			list := PresenceSucceeded("presence-a", append(others, Member{ID: "5", Number: number}))
			if got := Listed(list, Member{ID: "5", Number: mine}); got.Number != number || got.ID != "5" {
				t.Errorf("listed as a number: %t; read: %+v", number, got)
			}
		}
	}
	for _, id := range []string{"a", "5.0", "05", ""} {
		if got := Listed(PresenceSucceeded("presence-a", []Member{{ID: id}}), Member{ID: id}); got.Number {
			t.Errorf("%q is a number", id)
		}
	}
	if got := Listed([]byte(`{"of":"another kind"}`), Member{ID: "5", Number: true}); !got.Number {
		t.Error("the form is forgotten")
	}
}

// TestParse takes what clients send and refuses every wrong shape.
func TestParse(t *testing.T) {
	m, err := Parse([]byte(`{"event":"client-a","channel":"c","data":{"x":1},"more":[]}`))
	if err != nil || m.Event != "client-a" || m.Channel != "c" || string(m.Data) != `{"x":1}` {
		t.Errorf("%+v %v", m, err)
	}
	for _, text := range []string{
		"", " ", "null", "1", `"a"`, "[]", "{", `{"event"`, "{}", `{"event":null}`, `{"event":1}`, `{"event":[]}`, `{"event":""}`,
		`{"Event":"a"}`, `{"event":"a","channel":1}`, `{"event":"a","channel":{}}`, `{"event":"a"} x`, "{\"event\":\"\xff\"}",
		strings.Repeat("[", 20000), `{"event":"a","data":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}",
	} {
		if m, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.40q is accepted as %+v", text, m)
		}
	}
	want := Subscribe{Channel: "presence-a", Auth: "k:s", ChannelData: `{"user_id":1}`}
	for _, data := range []string{
		`{"channel":"presence-a","auth":"k:s","channel_data":"{\"user_id\":1}"}`,
		`"{\"channel\":\"presence-a\",\"auth\":\"k:s\",\"channel_data\":\"{\\\"user_id\\\":1}\"}"`,
	} {
		if s, err := ParseSubscribe(json.RawMessage(data)); err != nil || s != want {
			t.Errorf("%s: %+v %v", data, s, err)
		}
	}
	if s, err := ParseSubscribe(json.RawMessage(`{"channel":"a","auth":null}`)); err != nil || s.Channel != "a" {
		t.Errorf("%+v %v", s, err)
	}
	for _, data := range []string{
		"", "null", "1", "[]", `"x"`, `"\"{}\""`, "{}", `{"channel":null}`, `{"channel":""}`, `{"channel":["a"]}`,
		`{"channel":"a","auth":1}`, `{"channel":"a","channel_data":{"user_id":1}}`,
	} {
		if s, err := ParseSubscribe(json.RawMessage(data)); err == nil {
			t.Errorf("subscribe %q is accepted as %+v", data, s)
		}
	}
	if s, err := ParseSignin(json.RawMessage(`{"auth":"a","user_data":"b"}`)); err != nil || s != (Signin{"a", "b"}) {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := ParseSignin(json.RawMessage(`{"auth":{},"user_data":"b"}`)); err == nil {
		t.Errorf("signin is accepted as %+v", s)
	}
}

func TestParseUsers(t *testing.T) {
	for data, want := range map[string]Member{
		`{"user_id":10,"user_info":{"name": "Mr. Channels"}}`: {"10", true, json.RawMessage(`{"name":"Mr. Channels"}`)},
		`{"user_id":"a"}`:              {ID: "a"},
		`{"user_id":"10"}`:             {ID: "10"},
		`{"user_id":-1}`:               {ID: "-1", Number: true},
		`{"user_id":1.5}`:              {ID: "1.5"},
		`{"user_id":1e3}`:              {ID: "1e3"},
		`{"user_id":-0}`:               {ID: "-0"},
		`{"user_id":9007199254740993}`: {ID: "9007199254740993"}, // no double: a client would round it
	} {
		if m, err := ParseMember(data, MaxUserInfo); err != nil || m.ID != want.ID || m.Number != want.Number || string(m.Info) != string(want.Info) {
			t.Errorf("%s: %+v %v", data, m, err)
		}
	}
	id, info := strings.Repeat("é", MaxUserID), `"`+strings.Repeat("x", MaxUserInfo-2)+`"`
	if _, err := ParseMember(`{"user_id":"`+id+`","user_info":`+info+`}`, MaxUserInfo); err != nil {
		t.Errorf("the longest that is allowed: %v", err)
	}
	for _, data := range []string{
		"", "[]", "null", "{}", `{"user_id":null}`, `{"user_id":""}`, `{"user_id":true}`, `{"user_id":{}}`, `{"user_id":"a\n"}`,
		`{"user_id":"` + id + `e"}`, `{"user_id":"a","user_info":` + info[:len(info)-1] + `x"}`,
	} {
		if m, err := ParseMember(data, MaxUserInfo); err == nil {
			t.Errorf("%.60s is accepted as %.60v", data, m)
		}
	}
	u, err := ParseUser(`{"id":"12","user_info":{},"watchlist":["a","b"]}`, MaxUserInfo)
	if err != nil || u.ID != "12" || len(u.Watchlist) != 2 || string(u.Info) != "{}" {
		t.Errorf("%+v %v", u, err)
	}
	if _, err := ParseMember(`{"user_id":"a","user_info":`+info[:len(info)-1]+`x"}`, 0); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	for _, data := range []string{`{"id":12}`, `{"id":""}`, `{}`, "", `{"id":"1","watchlist":"a"}`, `{"id":"1","watchlist":[1]}`, `{"id":"1","watchlist":[""]}`} {
		if _, err := ParseUser(data, MaxUserInfo); err == nil || errors.Is(err, ErrWatchlist) {
			t.Errorf("%s: %v", data, err)
		}
	}
	list, _ := json.Marshal(strings.Split(strings.Repeat("u", MaxWatchlist+1), ""))
	if u, err := ParseUser(`{"id":"1","watchlist":`+string(list)+`}`, MaxUserInfo); !errors.Is(err, ErrWatchlist) || u.ID != "1" || u.Watchlist != nil {
		t.Errorf("long watchlist: %+v %v", u, err)
	}
}

// FuzzParse feeds the parsers with anything: they must not panic, and what they
// accept must make valid JSON when it is sent on.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"a:b","channel_data":"{\"user_id\":1,\"user_info\":{}}"}}`,
		`{"event":"pusher:signin","data":"{\"auth\":\"x\",\"user_data\":\"{\\\"id\\\":\\\"1\\\",\\\"watchlist\\\":[\\\"2\\\"]}\"}"}`,
		`{"event":"client-x","channel":"private-a","data":"\ud800"}`, `{"event":"a","data":null}`, `[{}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		check := func(out []byte) {
			if !json.Valid(out) {
				t.Errorf("%q becomes %q", b, out)
			}
		}
		check(RawEvent(m.Event, m.Channel, m.Data, Member{ID: m.Event}))
		check(Event(m.Event, m.Channel, string(m.Data)))
		if s, err := ParseSubscribe(m.Data); err == nil {
			check(SubscriptionError(s.Channel, s.Auth, s.ChannelData, 1))
			if ValidChannel(s.Channel) && strings.ContainsAny(s.Channel, ": \n#") {
				t.Errorf("%q is a valid channel", s.Channel)
			}
			if u, err := ParseMember(s.ChannelData, 0); err == nil {
				check(PresenceSucceeded(s.Channel, []Member{u, u}))
				check(MemberAdded(s.Channel, u))
				check(RawEvent(m.Event, m.Channel, m.Data, u))
			}
		}
		if s, err := ParseSignin(m.Data); err == nil {
			check(SigninSuccess(s.UserData))
			if u, err := ParseUser(s.UserData, 0); err == nil {
				check(Watchlist(Watch{u.ID, u.Watchlist}))
			}
		}
	})
}
