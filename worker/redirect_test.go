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

func TestPublicPort(t *testing.T) {
	for says, want := range map[string]string{"https": "", "https:443": "443", "https:65535": "65535"} {
		s := Settings{Redirect: says}
		if port, named, err := s.publicPort(); err != nil || port != want || named != (want != "") {
			t.Errorf("%s: %q %v %v", says, port, named, err)
		}
	}
	for _, says := range []string{"http", "https:", "https:0", "https:65536", "https:-1", "https:+443", "https:0443", "https:443x", "https://443", "https:443:1", ":443"} {
		s := Settings{Redirect: says}
		if _, _, err := s.publicPort(); err == nil {
			t.Errorf("%q is taken", says)
		}
	}
}
