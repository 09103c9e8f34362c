package pusher

import (
	"runtime"
	"strings"
	"testing"
)

const (
	key    = "278d425bdf160c739803"
	secret = "7ad3773142a6692b25b8"
)

// TestChannelAuth checks the vectors of the protocol's documentation, with the
// correction of the one that it prints for other data.
func TestChannelAuth(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{ChannelText("1234.1234", "private-foobar", ""),
			"58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"},
		{ChannelText("1234.1234", "presence-foobar", `{"user_id":10,"user_info":{"name":"Mr. Channels"}}`),
			"31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"},
		{UserText("1234.1234", `{"id":"12345"}`),
			"4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"},
	} {
		if got := Sign(secret, tc.text); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.text, got, tc.want)
		}
		if !VerifyAuth(key, secret, tc.text, key+":"+tc.want) {
			t.Errorf("%s: its own signature is refused", tc.text)
		}
		for _, auth := range []string{
			"", ":", key, key + ":", tc.want, ":" + tc.want, "other:" + tc.want, key + ":" + tc.want + "0",
			key + ":" + tc.want[:63], key + ":" + Sign("other", tc.text), key + ":" + Sign(secret, tc.text+" "),
		} {
			if VerifyAuth(key, secret, tc.text, auth) {
				t.Errorf("%s: %q is accepted", tc.text, auth)
			}
		}
	}
}

// TestRequestText checks the vectors of the HTTP API.
func TestRequestText(t *testing.T) {
	const auth = "auth_key=" + key + "&auth_timestamp=1353088179&auth_version=1.0"
	for _, tc := range []struct{ method, path, query, want string }{
		{"POST", "/apps/3/events", auth + "&body_md5=ec365a775a4cd0599faeb73354201b6f",
			"da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"},
		{"GET", "/apps/3/channels", "info=user_count&" + auth + "&filter_by_prefix=presence-&auth_signature=0",
			"16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291"},
		{"POST", "/apps/3/users/42/terminate_connections", auth + "&body_md5=99914b932bd37a50b983c5e7c90ae93b",
			"2829710742ff5f799010258297d09016e2366257e3e954039eeda349073a2bcf"},
	} {
		q, err := ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := Sign(secret, RequestText(tc.method, tc.path, q)); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.method, tc.path, got, tc.want)
		}
	}
}

// TestWebhookSignature checks the vector of webhooks, which sign the body alone.
func TestWebhookSignature(t *testing.T) {
	const body = `{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}`
	if got := Sign(secret, body); got != "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf" {
		t.Error(got)
	}
}

// TestQuery reads names in any case, escapes, and lists in the ways that SDKs
// write them.
func TestQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                   "",
		"B=2&a=1":                            "a=1&b=2",
		"info=user_count%2Ccache":            "info=user_count,cache",
		"info[]=a&info[]=b":                  "info=a,b",
		"info%5B0%5D=a&info%5B1%5D=b&auth=x": "auth=x&info=a,b",
		"a=x+y%20z%26&b":                     "a=x y z&&b=",
	} {
		q, err := ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if got := RequestText("GET", "/", q); got != "GET\n/\n"+want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
	if _, err := ParseQuery("a=%zz"); err == nil {
		t.Error("a broken escape is accepted")
	}
}

// allocated returns how many bytes of memory fn asks for.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestParseQueryIsLinear: a name that comes often costs what its values cost, and
// there is an end to parameters.
func TestParseQueryIsLinear(t *testing.T) {
	value := "a=" + strings.Repeat("x", 1000) + "&"
	raw := strings.TrimSuffix(strings.Repeat(value, maxParameters), "&")
	if n := allocated(func() { _, _ = ParseQuery(raw) }); n > uint64(4*len(raw)) {
		t.Errorf("%d bytes are allocated for a query of %d", n, len(raw))
	}
	if q, err := ParseQuery(raw); err != nil || len(q["a"]) != maxParameters*1001-1 {
		t.Errorf("%d bytes, %v", len(q["a"]), err)
	}
	for _, many := range []string{raw + "&a", strings.Repeat("a&", 4000), strings.Repeat("&", 4000)} {
		if _, err := ParseQuery(many); err != errParameters {
			t.Errorf("%d bytes: %v", len(many), err)
		}
	}
}

// FuzzParseQuery: memory is in proportion to the query.
func FuzzParseQuery(f *testing.F) {
	f.Add("a=1&a[]=2&b=%20;c")
	f.Add(strings.Repeat("a&", 90))
	f.Fuzz(func(t *testing.T, raw string) {
		if n := allocated(func() { _, _ = ParseQuery(raw) }); n > uint64(16*len(raw))+64<<10 {
			t.Fatalf("%d bytes are allocated for a query of %d", n, len(raw))
		}
	})
}
