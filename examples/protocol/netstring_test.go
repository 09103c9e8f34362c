package main

import (
	"bytes"
	"testing"

	"github.com/pushd/pushd/protocol"
)

func TestNetstring(t *testing.T) {
	for _, x := range []struct {
		in    string
		limit int
		n     int
		err   error
	}{
		{"", 0, 0, nil},
		{"5", 0, 0, nil},
		{"5:", 0, 8, nil},
		{"5:hell", 0, 8, nil},
		{"5:hello,", 0, 8, nil},
		{"5:hello,3:", 0, 8, nil},
		{"5:helloo", 0, 0, errSyntax},
		{"0:,", 0, 3, nil},
		{"00:,", 0, 0, errSyntax},
		{"01", 0, 0, errSyntax},
		{":,", 0, 0, errSyntax},
		{"-1:,", 0, 0, errSyntax},
		{"5 :hello,", 0, 0, errSyntax},
		{"999999999", 0, 0, nil},
		{"1000000000", 0, 0, errSyntax},
		{"1000000000:", 0, 0, errSyntax},
		{"5:hello,", 5, 8, nil},
		{"6:", 5, 0, protocol.ErrTooLong},
	} {
		if n, err := (netstring{}).Input([]byte(x.in), x.limit); n != x.n || err != x.err {
			t.Errorf("Input(%q, %d) = %d, %v, want %d, %v", x.in, x.limit, n, err, x.n, x.err)
		}
	}
	if _, err := (netstring{}).Decode([]byte("5:hello;")); err != errSyntax {
		t.Errorf("Decode without the comma: %v", err)
	}
}

// FuzzNetstring checks that what is accepted is what Encode writes, and that a
// packet that comes in parts is judged as one that comes whole.
func FuzzNetstring(f *testing.F) {
	for _, seed := range []string{"", "5:hello,", "0:,1:x", "12:", "01:x,", "9999999999", "3:abc;"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 16
		n, err := netstring{}.Input(in, limit)
		if n < 0 || n > limit+maxDigits || err != nil && n != 0 {
			t.Fatalf("Input(%q) = %d, %v", in, n, err)
		}
		for i := range in {
			m, partly := netstring{}.Input(in[:i], limit)
			if err == nil && (partly != nil || m != 0 && m != n) {
				t.Fatalf("Input(%q) = %d, %v, but of all %d", in[:i], m, partly, n)
			}
		}
		if n == 0 || n > len(in) {
			return
		}
		message, err := netstring{}.Decode(in[:n])
		if err != nil {
			t.Fatalf("Decode(%q): %v", in[:n], err)
		}
		if again := (netstring{}).Encode(nil, message); !bytes.Equal(again, in[:n]) {
			t.Fatalf("%q is encoded as %q", in[:n], again)
		}
	})
}
