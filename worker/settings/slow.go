package settings

import (
	"fmt"
	"strings"

	"github.com/pushd/pushd/worker/channel"
)

// ChannelSlow is what becomes of the messages of some channels that a client
// reads too slowly, in place of the group's Slow:
//
//   - channel.SlowClose: over MaxQueue the connection is closed;
//   - channel.SlowDropOldest: over MaxQueue the oldest of their messages are forgotten,
//     and a message that finds no room even so;
//   - channel.SlowLatest: of each channel only the newest unsent message is kept,
//     whatever the queue's length.
//
// A message that someone else needs room for is forgotten in both of the last
// two cases, before the group's Slow is asked: what may be lost makes room for
// what may not.
type ChannelSlow struct {
	Match string       `json:"match"` // a name, or its beginning and "*"; of an app's channels "ID:name"
	Slow  channel.Slow `json:"slow"`
}

// matches reports whether the rule is for the channel.
func (s *ChannelSlow) matches(name string) bool {
	if prefix, ok := strings.CutSuffix(s.Match, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return name == s.Match
}

// SlowOf returns the first rule of the group for the channel of that name and
// its number; -1 says that there is none.
func (s *Settings) SlowOf(name string) (channel.Slow, int) {
	for i := range s.SlowChannels {
		if s.SlowChannels[i].matches(name) {
			return s.SlowChannels[i].Slow, i
		}
	}
	return "", -1
}

// check names what makes no sense.
func (s *ChannelSlow) check() error {
	if i := strings.IndexByte(s.Match, '*'); s.Match == "" || i >= 0 && i < len(s.Match)-1 {
		return fmt.Errorf(`channels: match = %q: write a channel's name, or its beginning and "*"`, s.Match)
	}
	if err := s.Slow.Check(); err != nil {
		return fmt.Errorf("channels: match = %q: %w", s.Match, err)
	}
	return nil
}
