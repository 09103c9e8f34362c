package record

import (
	"math/rand"
	"strings"
	"testing"
)

// TestTextsAgainstModel compares the packed texts with maps, under random
// changes, with values on both sides of where a length takes one byte more.
func TestTextsAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	type key struct {
		tag  byte
		name string
	}
	keys := []key{{Query, ""}, {Path, ""}, {IP, ""}}
	for _, name := range []string{"", "a", "ab", "b", strings.Repeat("long", 40)} {
		keys = append(keys, key{Value, name}, key{Header, name})
	}
	values := []string{"", "", "x", "a\x00b", "✓", strings.Repeat("y", 126), strings.Repeat("z", 20_000)}
	model, packed := map[key]string{}, Texts("")
	for range 20_000 {
		k, v := keys[rng.Intn(len(keys))], values[rng.Intn(len(values))]
		before, was := string(packed), strings.Clone(string(packed))
		packed = packed.With(k.tag, k.name, v)
		if before != was {
			t.Fatal("a change has written into the old string")
		}
		if model[k] = v; v == "" {
			delete(model, k)
		}
		size := 0
		for _, k := range keys {
			if got, _, _ := packed.Find(k.tag, k.name); got != model[k] {
				t.Fatalf("%d %q is %.40q, want %.40q", k.tag, k.name, got, model[k])
			}
			if v := model[k]; v != "" && k.tag == Value {
				size += len(k.name) + len(v)
			}
		}
		if got := packed.Size(Value); got != size {
			t.Fatalf("%d bytes of session values, want %d", got, size)
		}
		if len(model) == 0 && packed != "" {
			t.Fatalf("%q is left of nothing", packed)
		}
	}
}

// FuzzNext: whatever was written, reading it ends; what was read can be written
// and read again.
func FuzzNext(f *testing.F) {
	f.Add(AppendNumber(AppendText(Append(nil, ID, []byte("id")), Path, "/a"), Flags, 300))
	f.Add([]byte{Frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		rest := b
		for len(rest) > 0 {
			tag, value, left, ok := Next(rest)
			if !ok {
				return
			}
			if len(left) >= len(rest) {
				t.Fatal("it does not end")
			}
			again, rest = Append(again, tag, value), left
		}
		for len(again) > 0 {
			_, _, left, ok := Next(again)
			if !ok {
				t.Fatalf("%q is not read", again)
			}
			again = left
		}
	})
}
