package proxy

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// binaryHeader makes one of version 2.
func binaryHeader(command, family byte, addr []byte, more int) []byte {
	b := append([]byte(signature), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addr)+more))
	return append(append(b, addr...), make([]byte, more)...)
}

var v4 = []byte{203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb}

func v6() []byte {
	ip := netip.MustParseAddr("2001:db8::9").As16()
	return append(append(append([]byte{}, ip[:]...), ip[:]...), 0x12, 0x67, 0x01, 0xbb)
}

func TestHeaders(t *testing.T) {
	for name, c := range map[string]struct{ header, from string }{
		"v1":              {"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n", "203.0.113.9:4711"},
		"v1, IPv6":        {"PROXY TCP6 2001:db8::9 ::1 4711 443\r\n", "[2001:db8::9]:4711"},
		"v1, longest":     {"PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", ""},
		"v1, unknown":     {"PROXY UNKNOWN\r\n", ""},
		"v2":              {string(binaryHeader(0x21, 0x11, v4, 0)), "203.0.113.9:4711"},
		"v2, IPv6":        {string(binaryHeader(0x21, 0x21, v6(), 0)), "[2001:db8::9]:4711"},
		"v2, more fields": {string(binaryHeader(0x21, 0x11, v4, 500)), "203.0.113.9:4711"},
		"v2, local":       {string(binaryHeader(0x20, 0x00, nil, 0)), ""},
		"v2, of itself":   {string(binaryHeader(0x20, 0x11, v4, 0)), ""}, // a health check says where it comes from
		"v2, unix":        {string(binaryHeader(0x21, 0x31, make([]byte, 216), 0)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range len(c.header) {
				if _, used, err := Parse([]byte(c.header[:n])); used != 0 || err != nil {
					t.Fatalf("%d bytes of it: %d, %v", n, used, err)
				}
			}
			from, n, err := Parse([]byte(c.header + "GET"))
			if err != nil || n != len(c.header) || from.IsValid() != (c.from != "") || c.from != "" && from.String() != c.from {
				t.Errorf("%s, %d of %d bytes, %v", from, n, len(c.header), err)
			}
		})
	}
	for why, list := range map[error][]string{
		ErrHeader: {"GET / HTTP/1.1\r\n"},
		ErrLong: {
			"PROXY TCP4 " + strings.Repeat("1", 100), "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", string(binaryHeader(0x21, 0x11, v4, 4096)[:20]),
		},
		ErrWrong: {
			"PROXY TCP4 203.0.113.9 127.0.0.1 4711\r\n", "PROXY TCP4 2001:db8::9 ::1 1 2\r\n", "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
			"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
			"PROXY TCP6 fe80::1%x ::1 1 2\r\n", "PROXY \r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
			string(binaryHeader(0x11, 0x11, v4, 0)), string(binaryHeader(0x22, 0x11, v4, 0)), string(binaryHeader(0x21, 0x11, v4[:8], 0)), string(binaryHeader(0x21, 0x21, v4, 0)),
		},
	} {
		for _, bad := range list {
			if from, n, err := Parse([]byte(bad)); err != why {
				t.Errorf("%q: %s, %d, %v; want %v", bad, from, n, err, why)
			}
		}
	}
}

// FuzzParse: a header is the same in any pieces, and bounded.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\nGET"), 20)
	f.Add(binaryHeader(0x21, 0x11, v4, 3), 15)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		from, n, err := Parse(b)
		if n < 0 || n > len(b) || n > maxBinary || err != nil && n != 0 || n == 0 && err == nil && len(b) >= maxBinary {
			t.Fatalf("%d of %d bytes, %v", n, len(b), err)
		}
		if from.IsValid() && (from.Addr().Is4In6() || from.Addr().Zone() != "" || n == 0) {
			t.Fatalf("%s is no plain address", from)
		}
		if n == 0 {
			return
		}
		if again, m, err := Parse(bytes.Clone(b[:n])); m != n || err != nil || again != from {
			t.Fatalf("%s, %d, %v of the header alone", again, m, err)
		}
		if cut >= 0 && cut < n {
			if _, m, err := Parse(b[:cut]); m != 0 || err != nil {
				t.Fatalf("%d of %d bytes: %d, %v", cut, n, m, err)
			}
		}
	})
}
