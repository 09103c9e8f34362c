package settings_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/settings"
)

func TestDefaultsAreValid(t *testing.T) {
	s := settings.Default()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if s.Limits.MaxQueue == 0 || s.Limits.MaxMessage == 0 || s.Limits.HandshakeTimeout == 0 || s.Slow != channel.SlowClose {
		t.Errorf("who says nothing has no bounds: %+v", s)
	}
}

// TestValidateNamesTheKey: a config names the line by it.
func TestValidateNamesTheKey(t *testing.T) {
	for key, change := range map[string]func(s *settings.Settings){
		"slow": func(s *settings.Settings) { s.Slow = "never" },
		"channels[1]": func(s *settings.Settings) {
			s.SlowChannels = []settings.ChannelSlow{{Match: "a", Slow: channel.SlowLatest}, {Match: "*a", Slow: channel.SlowLatest}}
		},
		"limits.max_queue":         func(s *settings.Settings) { s.Limits.MaxQueue = -1 },
		"limits.handshake_timeout": func(s *settings.Settings) { s.Limits.HandshakeTimeout = -time.Second },
		"limits.per_ip_rate":       func(s *settings.Settings) { s.Limits.PerIPRate = -1 },
		"ping_interval":            func(s *settings.Settings) { s.PingInterval = -1 },
		"redirect":                 func(s *settings.Settings) { s.Redirect = "http" },
		"tls":                      func(s *settings.Settings) { s.TLS = &certs.Settings{MinVersion: "0.9"} },
	} {
		s := settings.Default()
		change(&s)
		var e *settings.Error
		if err := s.Validate(); !errors.As(err, &e) || e.Key != key || e.Error() == "" || errors.Unwrap(e) == nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestChannelSlowIsChecked(t *testing.T) {
	for _, c := range []settings.ChannelSlow{{Match: "", Slow: channel.SlowLatest}, {Match: "a*b", Slow: channel.SlowLatest}, {Match: "**", Slow: channel.SlowLatest}, {Match: "a", Slow: ""}, {Match: "a", Slow: "soon"}} {
		s := settings.Default()
		s.SlowChannels = []settings.ChannelSlow{c}
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "channels: match") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestSlowOfTheFirstThatMatches(t *testing.T) {
	s := settings.Default()
	s.SlowChannels = []settings.ChannelSlow{{Match: "price.x", Slow: channel.SlowClose}, {Match: "price.*", Slow: channel.SlowLatest}, {Match: "*", Slow: channel.SlowDropOldest}}
	for name, want := range map[string]int{"price.x": 0, "price.y": 1, "price.": 1, "price": 2, "": 2} {
		if slow, i := s.SlowOf(name); i != want || slow != s.SlowChannels[want].Slow {
			t.Errorf("%q: rule %d, %q", name, i, slow)
		}
	}
	s.SlowChannels = s.SlowChannels[:2]
	if slow, i := s.SlowOf("log"); i != -1 || slow != "" {
		t.Errorf("no rule: %d %q", i, slow)
	}
}

func TestRedirectPort(t *testing.T) {
	for says, want := range map[string]string{"https": "", "https:443": "443", "https:65535": "65535"} {
		s := settings.Settings{Redirect: says}
		if port, named, err := s.RedirectPort(); err != nil || port != want || named != (want != "") {
			t.Errorf("%s: %q %v %v", says, port, named, err)
		}
	}
	for _, says := range []string{"http", "https:", "https:0", "https:65536", "https:-1", "https:+443", "https:0443", "https:443x", "https://443", "https:443:1", ":443"} {
		s := settings.Settings{Redirect: says}
		if _, _, err := s.RedirectPort(); err == nil {
			t.Errorf("%q is taken", says)
		}
	}
}
