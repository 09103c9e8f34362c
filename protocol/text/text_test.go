package text

import (
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

func TestInput(t *testing.T) {
	check := testkit.Input(t, Protocol{})
	check("", 2, 0)
	check("\n", 2, 1)
	check("\r\n", 2, 2)
	check("ab", 2, 0)
	check("ab\r", 2, 0)
	check("ab\r\nc", 2, 4)
	check("ab\n", 2, 3)
	check("abc\n", 2, -1)
	check("abc\r\n", 2, -1)
	check("abc", 2, -1)
	check("ab\rc", 2, -1)
	check("ab\r\r\n", 2, -1)
	check("abc\n", 0, 4)
	check("ab\n", 1<<63-1, 3)
}

func TestRoundTrip(t *testing.T) { testkit.RoundTrip(t, Protocol{}) }

func FuzzInput(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nccc"), 1, 8)
	f.Add([]byte("\x00\x00\x00\x03\r\n"), 2, 0)
	testkit.FuzzPackets(f, Protocol{})
}

func TestTooLongHasItsName(t *testing.T) { testkit.TooLong(t, Protocol{}, "abc\n") }
