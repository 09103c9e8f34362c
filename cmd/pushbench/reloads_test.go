package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestMissedPromise: one line out of reach makes the table fail, and says so.
func TestMissedPromise(t *testing.T) {
	for _, tc := range []struct {
		lost, rate float64
		missed     int
	}{{0, 15_000, 0}, {1, 15_000, 1}, {0, 14_999, 1}, {3, 1, 2}} {
		var out bytes.Buffer
		p := &promises{Context: cli.NewContext(&cli.App{Writer: &out}, flag.NewFlagSet("", flag.ContinueOnError), nil)}
		p.atMost("lost", tc.lost, "", 0)
		p.atLeast("rate", tc.rate, "/s", 15_000)
		err := p.output()
		if n := strings.Count(out.String(), "MISSED"); n != tc.missed || (err != nil) != (n > 0) || err != nil && !errors.Is(err, errFaulty) {
			t.Errorf("%+v: %v\n%s", tc, err, out.String())
		}
	}
}
