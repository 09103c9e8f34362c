package payload

import (
	"bytes"
	"errors"
	"testing"
)

func TestEveryByteIsChecked(t *testing.T) {
	want := Message{Stream: 12345, Seq: 678, Sent: 1<<62 + 3}
	for _, size := range []int{Header, 33, 128, 4093 + Header, 100_000} {
		sent := Append(nil, 77, want, size)
		if len(sent) != size {
			t.Fatalf("size %d, want %d", len(sent), size)
		}
		if got, err := Parse(77, sent); err != nil || got != want {
			t.Fatalf("size %d: %+v, %v", size, got, err)
		}
		for i := 0; i < size; i += 1 + size/500 {
			damaged := bytes.Clone(sent)
			damaged[i] ^= 1
			if _, err := Parse(77, damaged); err == nil {
				t.Fatalf("size %d: byte %d changed and nobody noticed", size, i)
			}
		}
		for _, cut := range [][]byte{sent[:size-1], sent[:0], append(bytes.Clone(sent), 'A')} {
			if _, err := Parse(77, cut); err == nil {
				t.Fatalf("size %d: %d bytes were accepted", size, len(cut))
			}
		}
	}
}

func TestForeignIsNotCorrupt(t *testing.T) {
	sent := Append(nil, 1, Message{Stream: 1, Seq: 1}, 64)
	if _, err := Parse(2, sent); !errors.Is(err, ErrForeign) {
		t.Fatalf("other run: %v", err)
	}
	sent[40] ^= 2
	if _, err := Parse(1, sent); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("damaged: %v", err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], 1, Message{Seq: 9}, 128) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, 5, Message{Stream: 1, Seq: 2, Sent: 3}, 40))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(5, b)
		if err == nil && !bytes.Equal(b, Append(nil, 5, m, len(b))) {
			t.Fatalf("accepted %q, which is not what would have been sent", b)
		}
	})
}
