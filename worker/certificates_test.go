package worker

import "testing"

func TestPlainScheme(t *testing.T) {
	for scheme, want := range map[string]string{
		"ws": "websocket", "websocket": "websocket", "http": "http", "text": "text", "udp": "udp",
		"wss": "+websocket", "https": "+http", "tls": "+tcp", "text+tls": "+text", "frame+tls": "+frame", "websocket+tls": "+websocket",
	} {
		plain, secure := plainScheme(scheme)
		if secure {
			plain = "+" + plain
		}
		if plain != want {
			t.Errorf("%s: %s, not %s", scheme, plain, want)
		}
	}
}

func TestTLSAndItsListenersBelongTogether(t *testing.T) {
	with, without := &Settings{TLS: &TLS{}}, &Settings{}
	for _, c := range []struct {
		listen []string
		s      *Settings
		ok     bool
	}{
		{[]string{"ws://:1"}, without, true}, {[]string{"ws://:1", "wss://:2"}, with, true},
		{[]string{"text+tls://:1"}, without, false}, {[]string{"text://:1"}, with, false},
	} {
		if err := CheckTLS(c.listen, c.s); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.listen, err)
		}
	}
}
