package worker

import "testing"

func TestHostBehindTLS(t *testing.T) {
	for _, c := range []struct{ host, port, want string }{
		{"push.example.com", "443", "push.example.com"}, {"Push.Example.com:80", "443", "push.example.com"},
		{"push.example.com:8080", "8443", "push.example.com:8443"}, {"127.0.0.1", "8443", "127.0.0.1:8443"},
		{"[::1]:80", "443", "[::1]"}, {"[::1]", "8443", "[::1]:8443"}, {"[0:0::1]", "443", "[::1]"},
		{"", "443", ""}, {":80", "443", ""}, {"a/b", "443", ""}, {"a@b", "443", ""}, {"a\r\nSet-Cookie: x", "443", ""},
		{"a:b:c", "443", ""}, {"[fe80::1%25lo]", "443", ""}, {"a b", "443", ""}, {"a?b", "443", ""}, {"a#b", "443", ""}, {`a\b`, "443", ""},
	} {
		if got := hostBehindTLS(c.host, c.port); got != c.want {
			t.Errorf("%q, port %s: %q, not %q", c.host, c.port, got, c.want)
		}
	}
}

func TestRedirectNeedsItsListeners(t *testing.T) {
	s := &Settings{TLS: &TLS{}, Redirect: RedirectHTTPS}
	for _, c := range []struct {
		listen []string
		ok     bool
	}{
		{[]string{"wss://:443", "http://:80"}, true}, {[]string{"ws://:80", "https://:443"}, true},
		{[]string{"wss://:443"}, false}, {[]string{"wss://:443", "http:///run/a.sock"}, false}, {[]string{"wss://:443", "text://:80"}, false},
		{[]string{"tls://:443", "http://:80"}, false}, {[]string{"wss:///run/a.sock", "http://:80"}, false}, {[]string{"wss://:0", "http://:80"}, false},
	} {
		if err := CheckTLS(c.listen, s); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.listen, err)
		}
	}
}
