//go:build linux

package master

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

func FuzzRequest(f *testing.F) {
	for _, s := range []string{`{"version":1,"op":"status"}`, `{"version":1,"op":"connections","args":{"limit":5}}`, `{`, `null`, `[1]`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		req, err := parseRequest(line)
		if err == nil && req.Version != wireVersion {
			t.Errorf("%q: version %d accepted", line, req.Version)
		}
	})
}

func FuzzPosition(f *testing.F) {
	f.Add(position{"push/0/1", "abc"}.String())
	f.Add("")
	f.Add("%%%")
	f.Fuzz(func(t *testing.T, cursor string) {
		at, err := parsePosition(cursor)
		if err != nil || cursor == "" {
			return
		}
		if back, err := parsePosition(at.String()); err != nil || back != at {
			t.Errorf("%q: %v becomes %v, %v", cursor, at, back, err)
		}
	})
}

func FuzzStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 (a) b) (c) S 1 2"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseStat(line)
		if err != nil {
			return
		}
		again := fmt.Appendf(nil, "1 (%s) %s %d 0 0 %d 0 %d%s %d 0 %d",
			line, []byte{s.state}, s.parent, s.tty, s.flags, strings.Repeat(" 0", 12), s.start, s.rss)
		if t2, err := parseStat(again); err != nil || t2 != s {
			t.Errorf("%q is read as %+v, and as %+v, %v with itself as the name", line, s, t2, err)
		}
	})
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"version":1,"listeners":[{"address":"ws://a:1"}],"workers":[{"name":"push","count":1,"listen":["ws://a:1"]}]}`))
	f.Add([]byte(`{"version":1,"listeners":[{"address":"unix:///x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Plan
		if json.Unmarshal(data, &p) != nil || p.Check() != nil {
			return
		}
		for _, l := range p.Listeners {
			if _, err := endpointOf(l.Address); err != nil {
				t.Errorf("a checked plan has the address %q: %v", l.Address, err)
			}
		}
	})
}

func FuzzSocketTable(f *testing.F) {
	f.Add("  0: 0100007F:0929 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		if inode, ok := socketOnPort(line, "tcp", 2345); ok && inode == "" {
			t.Errorf("%q: no inode", line)
		}
	})
}
