package frame

import (
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

func TestInput(t *testing.T) {
	check := testkit.Input(t, Protocol{})
	check("", 2, 0)
	check("\x00\x00\x00", 2, 0)
	check("\x00\x00\x00\x00", 2, -1)
	check("\x00\x00\x00\x01", 2, -1)
	check("\x00\x00\x00\x02", 2, -1)
	check("\x00\x00\x00\x03", 2, -1)
	check("\x00\x00\x00\x04", 2, 4)
	check("\x00\x00\x00\x06", 2, 6)
	check("\x00\x00\x00\x07", 2, -1)
	check("\xff\xff\xff\xff", 2, -1)
	check("\xff\xff\xff\xff", 0, 1<<32-1)
	check("\x00\x00\x00\x05abc", 2, 5)
}

func TestRoundTrip(t *testing.T) { testkit.RoundTrip(t, Protocol{}) }

func FuzzInput(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05a\x00\x00\x00\x04"), 1, 8)
	f.Add([]byte("\x00\x00\x00\x03\r\n"), 2, 0)
	testkit.FuzzPackets(f, Protocol{})
}

func TestTooLongHasItsName(t *testing.T) { testkit.TooLong(t, Protocol{}, "\x00\x00\x00\x07") }
