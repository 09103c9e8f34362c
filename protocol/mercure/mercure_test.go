package mercure

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const hubURL = "https://hub.example.com/.well-known/mercure"

func hub(t testing.TB, compat bool) *Hub {
	t.Helper()
	h, err := NewHub(hubURL, compat)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func matcher(t testing.TB, h *Hub, kind, match string) *Matcher {
	t.Helper()
	m, err := h.Matcher(kind, match)
	if err != nil {
		t.Fatalf("%s %q: %v", kind, match, err)
	}
	return &m
}

func selects(t testing.TB, h *Hub, kind, match, topic string) bool {
	t.Helper()
	name := h.Topic(topic)
	return matcher(t, h, kind, match).Matches(&name)
}

// Section "Terminology": topics are UTF-8 without C0, C1, DEL and Cf.
func TestTerminologyTopics(t *testing.T) {
	for _, bad := range []string{"", "a\x00b", "a\nb", "a\x1fb", "a\x7fb", "a\u0085b", "a\u200bb", "a\u202eb", "a\xffb", strings.Repeat("a", MaxTopic+1)} {
		if CheckTopic(bad) == nil {
			t.Errorf("topic %.20q is taken", bad)
		}
	}
	for _, good := range []string{"a", "https://example.com/foo", "été", "urn:uuid:1", "with space"} {
		if err := CheckTopic(good); err != nil {
			t.Errorf("topic %q: %v", good, err)
		}
	}
}

// Section "Exact Matching": byte for byte, nothing is resolved or normalized.
func TestExactMatching(t *testing.T) {
	h := hub(t, false)
	for _, c := range []struct {
		match, topic string
		want         bool
	}{
		{"https://example.com/foo", "https://example.com/foo", true},
		{"https://example.com/foo", "https://example.com/Foo", false},
		{"https://example.com/foo", "HTTPS://example.com/foo", false},
		{"https://example.com/a", "https://example.com/%61", false},
		{"/foo", "https://hub.example.com/foo", false},
		{"\u00e9", "e\u0301", false},
		{"https://example.com/:id", "https://example.com/1", false},
		{"https://example.com/:id", "https://example.com/:id", true},
	} {
		if got := selects(t, h, "", c.match, c.topic); got != c.want {
			t.Errorf("%q selects %q: %v", c.match, c.topic, got)
		}
	}
}

// Section "Matcher Types": * matches every topic, whatever the type.
func TestMatcherTypesWildcard(t *testing.T) {
	h := hub(t, true)
	for _, kind := range []string{"", Exact, URLPattern, Template} {
		for _, topic := range []string{"foo", "https://example.com/", "http://[bad"} {
			if !selects(t, h, kind, "*", topic) {
				t.Errorf("* of type %q does not select %q", kind, topic)
			}
		}
	}
	if _, err := h.Matcher("regexp", "*"); err == nil {
		t.Error("a type that is not known is taken")
	}
	if _, err := hub(t, false).Matcher(Template, "{a}"); err == nil {
		t.Error("a URI template is taken without compat")
	}
}

// Section "URL Pattern", and the URL Pattern standard.
func TestURLPattern(t *testing.T) {
	h := hub(t, false)
	for _, c := range []struct {
		match, topic string
		want         bool
	}{
		{"https://example.com/books/:id", "https://example.com/books/1", true},
		{"https://example.com/books/:id", "https://example.com/books/1/2", false},
		{"https://example.com/books/:id", "https://example.com/books/", false},
		{"https://example.com/books/:id", "https://example.com/books", false},
		{"https://example.com/books/:id", "http://example.com/books/1", false},
		{"https://example.com/books/:id", "https://example.com/Books/1", false}, // ignoreCase is off
		{"https://EXAMPLE.com/books/:id", "https://example.COM/books/1", true},  // but hosts have no case
		{"https://example.com/books/:id?", "https://example.com/books", true},
		{"https://example.com/books/:id?", "https://example.com/books/1", true},
		{"https://example.com/books/:id+", "https://example.com/books/1/2", true},
		{"https://example.com/books/:id*", "https://example.com/books", true},
		{`https://example.com/books/:id(\d+)`, "https://example.com/books/12", true},
		{`https://example.com/books/:id(\d+)`, "https://example.com/books/x", false},
		{`https://example.com/books/(\d+)`, "https://example.com/books/7", true},
		{"https://example.com/users/42/*", "https://example.com/users/42/books/1", true},
		{"https://example.com/users/42/*", "https://example.com/users/43/books/1", false},
		{"https://example.com/users/42/*", "https://example.com/users/42", false},
		{"https://*.example.com/", "https://a.b.example.com/", true},
		{"https://:sub.example.com/", "https://a.example.com/", true},
		{"https://:sub.example.com/", "https://a.b.example.com/", false},
		{"https://example.com/a{/b}?/c", "https://example.com/a/c", true},
		{"https://example.com/a{/b}?/c", "https://example.com/a/b/c", true},
		{`https://example.com/a\:b`, "https://example.com/a:b", true},
		{"https://example.com:8080/a", "https://example.com:8080/a", true},
		{"https://example.com:8080/a", "https://example.com/a", false},
		{"https://example.com:443/a", "https://example.com/a", true},
		{"https://example.com/a", "https://example.com:443/a", true},
		{"https://example.com/a?x=:v", "https://example.com/a?x=1", true},
		{"https://example.com/a?x=:v", "https://example.com/a", false},
		{"https://example.com/a", "https://example.com/a?x=1#y", true},
		{"https://example.com/a#top", "https://example.com/a#top", true},
		{"https://example.com/a b", "https://example.com/a%20b", true},
		{"https://example.com/é", "https://example.com/%C3%A9", true},
		{"http{s}?://example.com/a", "http://example.com/a", true},
		{"http{s}?://example.com/a", "https://example.com/a", true},
		{"*://example.com/a", "ftp://example.com/a", true},
		{"https://example.com/a/../b", "https://example.com/b", false},
		{"https://example.com/b", "https://example.com/a/../b", true},
		{"urn\\:uuid\\:*", "https://example.com/", false},
		// relative patterns and topics: the hub's URL is the base
		{"/.well-known/mercure/subscriptions/exact/:topic/:subscriber", "/.well-known/mercure/subscriptions/exact/a%2Fb/urn%3Auuid%3A1", true},
		{"/.well-known/mercure/subscriptions{/*}?", "/.well-known/mercure/subscriptions", true},
		{"/.well-known/mercure/subscriptions/:match_type/x{/:subscriber}?", "/.well-known/mercure/subscriptions/exact/x", true},
		{"/.well-known/mercure/subscriptions/:match_type/x{/:subscriber}?", "/.well-known/mercure/subscriptions/exact/x/y", true},
		{"/.well-known/mercure/subscriptions/:match_type/x{/:subscriber}?", "/.well-known/mercure/subscriptions/exact/z/y", false},
		{"/foo/:id", "https://hub.example.com/foo/1", true},
		{"/foo/:id", "https://other.example.com/foo/1", false},
		{"foo-:id", "foo-1", true},
		// what cannot be read as a URL is matched by none
		{"https://example.com/*", "https://exa mple.com/", false},
		{"*://*/*", "https://[:::", false},
	} {
		if got := selects(t, h, URLPattern, c.match, c.topic); got != c.want {
			t.Errorf("%q selects %q: %v", c.match, c.topic, got)
		}
	}
}

// Section "URL Pattern": patterns that would explode are bounded, and what is
// malformed is refused.
func TestURLPatternRefused(t *testing.T) {
	h := hub(t, false)
	for _, bad := range []string{
		"https://example.com/(", "https://example.com/(a", "https://example.com/{a", "https://example.com/}", "https://example.com/a+",
		"https://example.com/:a/:a", "https://example.com/(?=a)", "https://example.com/((a))", "https://example.com/()", `https://example.com/\`,
		"https://example.com/(\u00e9)",
		"https://example.com/(a{1000})", "https://example.com/((?:(?:a{30}){30}){30})", "https://example.com/" + strings.Repeat("(a{400})", 20),
		"https://example.com/(" + strings.Repeat("(?:", 300) + "a" + strings.Repeat(")*", 300) + ")",
		"https://example.com/" + strings.Repeat("*a", 400), strings.Repeat("/:a", 1000),
	} {
		if _, err := h.Matcher(URLPattern, bad); err == nil {
			t.Errorf("pattern %.60q is taken", bad)
		}
	}
	// What makes a backtracking engine explode: the time is linear here, so that
	// this ends at all.
	m := matcher(t, h, URLPattern, "https://example.com/((?:a+)+b)")
	name := h.Topic("https://example.com/" + strings.Repeat("a", 2000))
	if m.Matches(&name) {
		t.Error("it matches")
	}
}

// A pattern is made once for all that come with it, and a stranger who comes with
// ever new ones takes no memory that grows.
func TestPatternsAreShared(t *testing.T) {
	h := hub(t, false)
	if a, b := matcher(t, h, URLPattern, "/a/:b"), matcher(t, h, URLPattern, "/a/:b"); a.pattern != b.pattern {
		t.Error("it was made twice")
	}
	for i := range 3 * maxPatterns {
		matcher(t, h, URLPattern, "/a"+strings.Repeat("x", i%1000)+string(rune('a'+i%26)))
	}
	if len(h.patterns) > maxPatterns {
		t.Errorf("%d are kept", len(h.patterns))
	}
}

// URI templates of revisions before 1.0.
func TestTemplates(t *testing.T) {
	h := hub(t, true)
	for _, c := range []struct {
		match, topic string
		want         bool
	}{
		{"https://example.com/books/{id}", "https://example.com/books/1", true},
		{"https://example.com/books/{id}", "https://example.com/books/1/2", false},
		{"https://example.com/books/{+id}", "https://example.com/books/1/2", true},
		{"https://example.com/books{/id}", "https://example.com/books/1", true},
		{"https://example.com/books{.ext}", "https://example.com/books.json", true},
		{"https://example.com/books{?page}", "https://example.com/books?page=2", true},
		{"https://example.com/books{?page}", "https://example.com/books", true},
		{"plain", "plain", true},
		{"https://example.com/a.b", "https://example.com/axb", false},
	} {
		if got := selects(t, h, Template, c.match, c.topic); got != c.want {
			t.Errorf("%q selects %q: %v", c.match, c.topic, got)
		}
	}
	for _, bad := range []string{"{", "}", "{}", "{a b}", "{a:}", "a}b{c", "{a{b}}", strings.Repeat("{a}", 600)} {
		if _, err := h.Matcher(Template, bad); err == nil {
			t.Errorf("template %.40q is taken", bad)
		}
	}
}

// Section "Subscription": the names of parameters, and what is refused with 400.
func TestSubscriptionQuery(t *testing.T) {
	h := hub(t, false)
	s, err := h.ParseQuery("match=https%3A%2F%2Fexample.com%2Ffoo&match_exact=bar&match_urlpattern=https%3A%2F%2Fexample.com%2F%3Aid&x=1&last_event_id=a%20b")
	if err != nil || len(s.Matchers) != 3 || s.LastEventID != "a b" || !s.Asked {
		t.Fatalf("%+v, %v", s, err)
	}
	if q := s.Query(); q != "match=https%3A%2F%2Fexample.com%2Ffoo&match=bar&match_urlpattern=https%3A%2F%2Fexample.com%2F%3Aid" {
		t.Errorf("written again it is %s", q)
	} else if again, err := h.ParseQuery(q); err != nil || again.Query() != q {
		t.Errorf("%q, %v", again.Query(), err)
	}
	if !s.Selects(h.Topics([]string{"other", "bar"})) || s.Selects(h.Topics([]string{"other"})) {
		t.Error("it selects other topics")
	}
	for _, bad := range []string{
		"", "x=1", "topic=a", "Match=a", "match", "match=", "matchURLPattern=a", "match_regexp=a", "matches=a", "MATCH_exact=a",
		"match=a%00", "match=%0a", "match=%ff", "match=%E2%80%AE", "match=%C2%85", "match_urlpattern=(",
		"match=" + strings.Repeat("a", MaxTopic+1),
	} {
		if _, err := h.ParseQuery(bad); err == nil {
			t.Errorf("query %.40q is taken", bad)
		}
	}
	if s, err := h.ParseQuery("match=a&match=a&match=b%3Bc"); err != nil || len(s.Matchers) != 2 || s.Matchers[1].Match != "b;c" {
		t.Errorf("%+v, %v", s, err)
	}
}

// Section "Subscription": limits end with 400. A thousand topics in a query.
func TestSubscriptionLimits(t *testing.T) {
	var many strings.Builder
	for i := range 1000 {
		many.WriteString("match=topic" + strings.Repeat("x", i) + "&")
	}
	if _, err := hub(t, false).ParseQuery(many.String()); err == nil {
		t.Error("a thousand topics are taken")
	}
	costly := strings.Repeat("match_urlpattern=https://example.com/:a/:b/*/", 1)
	many.Reset()
	for i := range MaxMatchers {
		many.WriteString(costly + strings.Repeat("x", i) + "/" + strings.Repeat("%28a%7B9%7D%29", 3) + "&")
	}
	if _, err := hub(t, false).ParseQuery(many.String()); err == nil {
		t.Error("patterns that cost too much together are taken")
	}
}

// Revisions before 1.0 have topic=, with compat only.
func TestCompatQuery(t *testing.T) {
	s, err := hub(t, true).ParseQuery("topic=https://example.com/books/%7Bid%7D&topic=foo&lastEventID=x")
	if err != nil || len(s.Matchers) != 2 || s.LastEventID != "x" {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, _ := hub(t, false).ParseQuery("match=a&lastEventID=x"); s.Asked {
		t.Error("lastEventID counts without compat")
	}
}

// Section "Publication": what a form must be.
func TestPublicationForm(t *testing.T) {
	h := hub(t, false)
	u, err := h.ParseUpdate("topic=https://example.com/foo&topic=alt&data=the%20content+x&private&id=urn:x&type=t&retry=1500&unknown=1", 100)
	if err != nil || len(u.Topics) != 2 || u.Data != "the content x" || !u.Private || u.ID != "urn:x" || u.Type != "t" || u.Retry.Milliseconds() != 1500 {
		t.Fatalf("%+v, %v", u, err)
	}
	for _, private := range []string{"private=", "private=on", "private=false", "private=0"} {
		if u, err := h.ParseUpdate("topic=a&"+private, 100); err != nil || !u.Private {
			t.Errorf("%s is not private: %v", private, err)
		}
	}
	for _, bad := range []string{
		"", "data=x", "topic=", "topic=*", "topic=a&topic=*", "topic=a%00", "topic=%ff", "topic=%E2%80%8B",
		"topic=a&data=%ff", "topic=a&id=%23x", "topic=a&id=earliest", "topic=a&id=a%00b", "topic=a&id=a%0Ab", "topic=a&id=%C2%80",
		"topic=a&type=mercure", "topic=a&type=a%0Db", "topic=a&retry=", "topic=a&retry=1.5", "topic=a&retry=-1", "topic=a&retry=1e3", "topic=a&retry=%D9%A1",
	} {
		if _, err := h.ParseUpdate(bad, 100); err == nil || errors.Is(err, ErrSize) {
			t.Errorf("form %q: %v", bad, err)
		}
	}
	for _, large := range []string{
		"topic=a&data=" + strings.Repeat("x", 101), strings.Repeat("topic=a&", MaxTopics+1), "topic=" + strings.Repeat("a", MaxTopic+1),
		"topic=a&id=" + strings.Repeat("a", MaxField+1), "topic=a&type=" + strings.Repeat("a", MaxField+1), "topic=a&retry=" + strings.Repeat("1", MaxField+1),
	} {
		if _, err := h.ParseUpdate(large, 100); !errors.Is(err, ErrSize) {
			t.Errorf("form %.40q: %v", large, err)
		}
	}
}

// Section "Publication": the media type. Odd charsets are refused.
func TestPublicationMedia(t *testing.T) {
	for media, want := range map[string]bool{
		"application/x-www-form-urlencoded": true, "application/x-www-form-urlencoded; charset=UTF-8": true, "Application/X-WWW-Form-Urlencoded;charset=utf8": true,
		"": false, "text/plain": false, "application/json": false, "multipart/form-data; boundary=x": false,
		"application/x-www-form-urlencoded; charset=utf-16": false, "application/x-www-form-urlencoded; charset=iso-8859-1": false, "application/x-www-form-urlencoded; charset=": false,
	} {
		if got := CheckMedia(media) == nil; got != want {
			t.Errorf("%q: %v", media, got)
		}
	}
}

// Section "Publication", "Reserved Hub Namespace": in whatever way it is written.
func TestReservedNamespace(t *testing.T) {
	h := hub(t, false)
	for topic, want := range map[string]bool{
		"/.well-known/mercure":                                      true,
		"/.well-known/mercure/subscriptions/exact/a/b":              true,
		"https://hub.example.com/.well-known/mercure/subscriptions": true,
		"http://other.example/.well-known/mercure/x":                true,
		"//other.example/.well-known/mercure":                       true,
		"/.well-known/%6Dercure/x":                                  true,
		"/.well-known/%6dercure":                                    true,
		"/.well-known/mercure/../mercure/x":                         true,
		"/.well-known/mercure/%2e%2e/mercure/x":                     true,
		"/a/../.well-known/mercure":                                 true,
		`\.well-known\mercure`:                                      true,
		"mercure":                                                   true, // relative to the hub's URL
		"mercure/x":                                                 true,
		"?x":                                                        true,
		"#x":                                                        true,
		"https://example.com/.well-known/mercure?x#y":               true,
		"/.well-known/mercury":                                      false,
		"/.well-known/mercure2":                                     false,
		"https://example.com/x/.well-known/mercure":                 false,
		"https://[bad/.well-known/mercure":                          false, // no URL: cannot name a path
		"urn:x":                                                     false,
		"foo":                                                       false,
	} {
		name := h.Topic(topic)
		if got := h.Reserved(&name); got != want {
			t.Errorf("%q is reserved: %v", topic, got)
		}
		if _, err := h.ParseUpdate("topic="+segment(topic), 10); (err != nil) != want {
			t.Errorf("publishing to %q: %v", topic, err)
		}
	}
}

const detail = `{"type":"https://mercure.rocks/authorization-detail","actions":["publish","subscribe"],"topics":[{"match":"https://example.com/:id","match_type":"urlpattern"},{"match":"foo"}],"payload":{"n":1}}`

// Section "Authorization Details", "Publishers", "Subscribers".
func TestAuthorizationDetails(t *testing.T) {
	h := hub(t, false)
	g, err := h.ParseGrants([]byte(`[{"type":"other"},{"type":"https://mercure.rocks/authorization-detail","actions":["later"],"topics":[{"match":"*"}]},` + detail + `]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		topics        []string
		publish, read bool
	}{
		{[]string{"foo"}, true, true},
		{[]string{"https://example.com/1", "foo"}, true, true},
		{[]string{"bar", "foo"}, false, true}, // all topics to publish, one to read
		{[]string{"bar"}, false, false},
		{nil, false, false},
	} {
		topics := h.Topics(c.topics)
		if g.MayPublish(topics) != c.publish || g.MayRead(topics) != c.read {
			t.Errorf("%q: publish %v, read %v", c.topics, g.MayPublish(topics), g.MayRead(topics))
		}
	}
	if g, err := h.ParseGrants(nil); err != nil || g.MayRead(h.Topics([]string{"foo"})) {
		t.Errorf("no claim grants something: %v", err)
	}
}

// Section "Authorization Details": one fault refuses the token.
func TestAuthorizationDetailsRefused(t *testing.T) {
	const head = `{"type":"https://mercure.rocks/authorization-detail",`
	many := strings.TrimSuffix(strings.Repeat(`{"match":"a"},`, MaxMatchers+1), ",")
	for _, bad := range []string{
		`{}`, `null`, `[1]`, `["x"]`, `[null]`,
		`[` + head + `"topics":[{"match":"a"}]}]`, `[` + head + `"actions":[],"topics":[{"match":"a"}]}]`, `[` + head + `"actions":"publish","topics":[{"match":"a"}]}]`,
		`[` + head + `"actions":["publish",1],"topics":[{"match":"a"}]}]`, `[` + head + `"actions":["publish",null],"topics":[{"match":"a"}]}]`,
		`[` + head + `"actions":["publish"]}]`, `[` + head + `"actions":["publish"],"topics":[]}]`, `[` + head + `"actions":["publish"],"topics":["a"]}]`,
		`[` + head + `"actions":["publish"],"topics":[{}]}]`, `[` + head + `"actions":["publish"],"topics":[{"match":1}]}]`, `[` + head + `"actions":["publish"],"topics":[{"match":null}]}]`,
		`[` + head + `"actions":["publish"],"topics":[{"Match":"a"}]}]`, `[` + head + `"actions":["publish"],"topics":[{"match":"a\u0000"}]}]`,
		`[` + head + `"actions":["publish"],"topics":[{"match":"a","match_type":"Exact"}]}]`, `[` + head + `"actions":["publish"],"topics":[{"match":"a","match_type":"regexp"}]}]`,
		`[` + head + `"actions":["publish"],"topics":[{"match":"a","match_type":null}]}]`, `[` + head + `"actions":["publish"],"topics":[{"match":"(","match_type":"urlpattern"}]}]`,
		`[` + head + `"actions":["publish"],"topics":[{"match":"a"}],"payload":1}]`, `[` + head + `"actions":["publish"],"topics":[` + many + `]}]`,
		`[` + detail + `,` + head + `"actions":["publish"],"topics":[{"match":""}]}]`,
		`[` + strings.TrimSuffix(strings.Repeat(detail+",", MaxDetails+1), ",") + `]`,
	} {
		if g, err := hub(t, true).ParseGrants([]byte(bad)); err == nil || g != nil {
			t.Errorf("%.120s is taken", bad)
		}
	}
}

// Section "Payloads": that of the first detail which matches the matcher itself.
func TestPayloads(t *testing.T) {
	h := hub(t, false)
	g, err := h.ParseGrants([]byte(`[
		{"type":"https://mercure.rocks/authorization-detail","actions":["publish"],"topics":[{"match":"*"}],"payload":{"n":0}},
		{"type":"https://mercure.rocks/authorization-detail","actions":["subscribe"],"topics":[{"match":"https://example.com/foo"}],"payload":{"n":1}},
		{"type":"https://mercure.rocks/authorization-detail","actions":["subscribe"],"topics":[{"match":"https://example.com/bar/:id","match_type":"urlpattern"}],"payload":{"n":2}},
		{"type":"https://mercure.rocks/authorization-detail","actions":["subscribe"],"topics":[{"match":"*"}],"payload":{"n":3}}]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ kind, match, want string }{
		{Exact, "https://example.com/foo", `{"n":1}`}, {URLPattern, "https://example.com/bar/:id", `{"n":2}`}, {Exact, "https://example.com/bar/7", `{"n":2}`}, {Exact, "x", `{"n":3}`},
	} {
		if got := g.Payload(h, matcher(t, h, c.kind, c.match)); string(got) != c.want {
			t.Errorf("%s: %s", c.match, got)
		}
	}
}

// The claim mercure of revisions before 1.0.
func TestLegacyClaim(t *testing.T) {
	h := hub(t, true)
	g, err := h.ParseLegacy([]byte(`{"publish":["*"],"subscribe":["https://example.com/books/{id}","foo"],"payload":{"a":1}}`))
	if err != nil || !g.MayPublish(h.Topics([]string{"x", "y"})) || !g.MayRead(h.Topics([]string{"https://example.com/books/1"})) || g.MayRead(h.Topics([]string{"x"})) {
		t.Fatalf("%+v, %v", g, err)
	}
	for _, bad := range []string{`1`, `[]`, `null`, `{"publish":"*"}`, `{"subscribe":[1]}`, `{"subscribe":["{"]}`} {
		if _, err := h.ParseLegacy([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if g, err := h.ParseLegacy([]byte(`{"publish":[]}`)); err != nil || g.MayPublish(h.Topics([]string{"x"})) {
		t.Errorf("%+v, %v", g, err)
	}
}

// Section "Subscription Events": topic and document; encoded once.
func TestSubscriptionDocument(t *testing.T) {
	h := hub(t, false)
	d := h.Document(matcher(t, h, URLPattern, "https://example.com/:selector"), "urn:uuid:bb3de268-05b0-4c65-b44e-8f9acefc29d6", true, []byte(`{"foo":"bar"}`))
	const id = "/.well-known/mercure/subscriptions/urlpattern/https%3A%2F%2Fexample.com%2F%3Aselector/urn%3Auuid%3Abb3de268-05b0-4c65-b44e-8f9acefc29d6"
	if d.ID != id || d.Type != "subscription" || d.MatchType != "urlpattern" || !d.Active {
		t.Errorf("%+v", d)
	}
	if d := h.Document(matcher(t, h, Exact, "a%2Fb"), "x", false, nil); d.ID != "/.well-known/mercure/subscriptions/exact/a%252Fb/x" {
		t.Errorf("%q: encoded more or less than once", d.ID)
	}
	if name := h.Topic(d.ID); !h.Reserved(&name) {
		t.Error("a publisher could forge it")
	}
}

// Section "Subscription API": the paths.
func TestSubscriptionAPI(t *testing.T) {
	h := hub(t, false)
	d := h.Document(matcher(t, h, Exact, "a/b"), "s", true, nil)
	for path, want := range map[string]bool{
		"/.well-known/mercure/subscriptions": true, "/.well-known/mercure/subscriptions/exact/a%2Fb": true, "/.well-known/mercure/subscriptions/exact/a%2fb/s": true,
		"/.well-known/mercure/subscriptions/urlpattern/a%2Fb": false, "/.well-known/mercure/subscriptions/exact/a%2Fb/t": false, "/.well-known/mercure/subscriptions/exact/a": false,
	} {
		w, ok := h.ParseResource(path)
		if !ok || w.Has(&d) != want {
			t.Errorf("%s: %v, %v", path, w, ok)
		}
	}
	for _, path := range []string{"/.well-known/mercure", "/.well-known/mercure/subscriptions/", "/.well-known/mercure/subscriptions/exact", "/.well-known/mercure/subscriptionsx", "/.well-known/mercure/subscriptions/a/b/c/d", "/.well-known/mercure/subscriptions/a//c"} {
		if w, ok := h.ParseResource(path); ok {
			t.Errorf("%s: %v", path, w)
		}
	}
}

// TestFramesOncePerChannel: two topics of one channel are one event to its clients. What
// the data says of channels is no topic, which a token would grant.
func TestFramesOncePerChannel(t *testing.T) {
	e := Event{Data: `{"channels":["x"],"event":"e","payload":1}`, Topics: []string{
		EchoPrefix + "channel/b", EchoPrefix + "channel/a", EchoPrefix + "channel/b", EchoPrefix + "channel/%61", EchoPrefix + "whisper/c",
	}}
	var got []string
	err := e.Frames(1, func(channel string, _ []byte, _ string) { got = append(got, channel) })
	if err != nil || !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("%q %v", got, err)
	}
	e.Data = `{"event":"e","payload":10}`
	if err := e.Frames(1, func(string, []byte, string) { t.Error("a payload over the limit") }); !errors.Is(err, ErrSize) {
		t.Errorf("a payload over the limit: %v", err)
	}
}

func TestHubURL(t *testing.T) {
	for _, bad := range []string{"", "/x", "example.com", "urn:x", "ftp://example.com/", "https://", "https://example.com/?x", "https://example.com/#x"} {
		if _, err := NewHub(bad, false); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A pattern and a topic of a stranger: no panic, and never more than it may cost.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"https://example.com/:id", "/a{/:b}?", "(a+)+", "*://*:*/*?*#*", "http{s}?://u:p@h:1/", "urn\\:x", "\\"} {
		f.Add(s, "https://example.com/1")
	}
	h := hub(f, true)
	f.Fuzz(func(t *testing.T, match, topic string) {
		for _, kind := range []string{URLPattern, Template, Exact} {
			m, err := h.Matcher(kind, match)
			if err != nil {
				continue
			}
			if m.cost > MaxProgram {
				t.Errorf("%q costs %d", match, m.cost)
			}
			name := h.Topic(topic)
			m.Matches(&name)
		}
	})
}

// What a stranger sends as a form: what is taken is held to the rules.
func FuzzUpdate(f *testing.F) {
	f.Add("topic=a&data=b&private=on&id=x&type=y&retry=1")
	f.Add("topic=/.well-known/mercure/x")
	f.Add("topic=%00&topic=%")
	h := hub(f, false)
	f.Fuzz(func(t *testing.T, body string) {
		u, err := h.ParseUpdate(body, 100)
		if err != nil {
			return
		}
		for _, name := range u.Topics {
			topic := h.Topic(name)
			if CheckTopic(name) != nil || name == Wildcard || h.Reserved(&topic) {
				t.Errorf("topic %q is taken", name)
			}
		}
		if strings.ContainsAny(u.ID+u.Type, "\x00\r\n") || len(u.Topics) == 0 || len(u.Topics) > MaxTopics {
			t.Errorf("%+v is taken", u)
		}
		e := u.Event("#1")
		if back, err := ParseEvent(e.Append(nil)); err != nil || back.Data != u.Data || len(back.Topics) != len(u.Topics) {
			t.Errorf("%+v comes back as %+v, %v", e, back, err)
		}
	})
}

// What a stranger asks for, and what a token that is signed has in it.
func FuzzQueryAndGrants(f *testing.F) {
	f.Add("match=a&match_urlpattern=/:x&last_event_id=y", `[`+detail+`]`)
	h := hub(f, true)
	f.Fuzz(func(t *testing.T, query, claim string) {
		if s, err := h.ParseQuery(query); err == nil && (len(s.Matchers) == 0 || len(s.Matchers) > MaxMatchers) {
			t.Errorf("%d matchers", len(s.Matchers))
		}
		_, _ = h.ParseGrants([]byte(claim))
		_, _ = h.ParseLegacy([]byte(claim))
		_, _ = h.ParseResource(query)
	})
}
