package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// written is what a walk writes.
func written(t testing.TB, s *Store) (b []byte) {
	t.Helper()
	w := s.Walk()
	for more := true; more; {
		b, more = w.Next(b, 1000)
	}
	return b
}

func loadedFrom(t testing.TB, o Options, pieces ...[]byte) *Store {
	t.Helper()
	s := New(o)
	l := NewLoader(s)
	for _, b := range pieces {
		if n := l.Frames(b); n != len(b) {
			t.Fatalf("%d of %d bytes are frames", n, len(b))
		}
	}
	l.Done()
	return s
}

// saving is a store that is written while it is used: what was complete before,
// and what was written and journaled since a walk began.
type saving struct {
	before, since []byte
	walk          *Walk
}

func (v *saving) begin(s *Store) {
	v.before, v.since, v.walk = append(v.before, v.since...), nil, s.Walk()
}

func (v *saving) step(size int) {
	if v.walk == nil {
		return
	}
	more := false
	if v.since, more = v.walk.Next(v.since, size); !more {
		v.before, v.walk = nil, nil
	}
}

// TestSavedAnswersAlike: what is written of a store while it is used, in pieces of
// any size, and what is journaled beside and behind that, makes at any moment a
// store that answers as the one did, or with a reason.
func TestSavedAnswersAlike(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		keep := Keep{Messages: 1 + r.IntN(10), Age: time.Duration(5+r.IntN(60)) * time.Second}
		s := newStore(keep, 8<<10+r.IntN(32<<10))
		log := map[string][]Message{}
		now := second
		v := saving{since: s.AppendApp(nil, "")}
		v.begin(s)
		channels, size := 9+r.IntN(20), 1+r.IntN(2000)
		name := func() string { return fmt.Sprint("c", r.IntN(channels)) }
		for step := range 2000 {
			now += r.Int64N(300)
			if r.IntN(500) == 0 {
				now -= 20 * second // the clock is set back
			}
			if r.IntN(4) == 0 {
				v.step(size)
			}
			switch r.IntN(40) {
			case 0:
				s.Sweep(r.IntN(16), now)
			case 1:
				name, offset := name(), r.Uint64N(s.Now("").Offset+2)
				v.since = s.AppendPurge(v.since, "", name, offset)
				if offset == 0 {
					s.Purge("", name)
				} else if s.PurgeOne("", name, offset) {
					log[name] = slices.DeleteFunc(log[name], func(m Message) bool { return m.Offset == offset })
				}
			case 2:
				if v.walk == nil || r.IntN(3) == 0 {
					v.begin(s)
				}
			default:
				name, data := name(), make([]byte, r.IntN(100))
				st := s.Append("", name, Text, data, now)
				v.since = AppendMessage(v.since, "", name, st, Text, data, now)
				log[name] = append(log[name], Message{st.Offset, now, Text, data})
			}
			if step%200 != 99 {
				continue
			}
			compareStores(t, s, loadedFrom(t, s.o, v.before, v.since), log, r, now, false)
			whole := written(t, s)
			compareStores(t, s, loadedFrom(t, s.o, whole, whole), log, r, now, true)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

// compareStores asks both for what follows random positions; alike: what is whole
// in one is so in the other.
func compareStores(t *testing.T, s, got *Store, log map[string][]Message, r *rand.Rand, now int64, alike bool) {
	t.Helper()
	if got.Now("") != s.Now("") {
		t.Fatalf("at %v, was at %v", got.Now(""), s.Now(""))
	}
	audit(t, got)
	for i := range 30 {
		name := fmt.Sprint("c", i)
		for range 6 {
			after := Position{1, r.Uint64N(s.Now("").Offset + 1)}
			check(t, got, name, log[name], after, now)
			if was := s.From("", name, after, 1<<20, now); alike && was.Reason == Whole && got.From("", name, after, 1<<20, now).Reason != Whole {
				t.Fatalf("%s after %v was whole", name, after)
			}
		}
	}
}

// TestGoneWhileWritten: of a channel of which a part is written the rest goes. What
// was written of it is not taken for all.
func TestGoneWhileWritten(t *testing.T) {
	for name, tc := range map[string]struct {
		then func(s *Store) // what happens between two pieces
		want string         // who has read the part, and comes then
	}{
		"nothing":   {func(*Store) {}, "31 32 33 34 35 36 37 38 39 40"},
		"forgotten": {func(s *Store) { fill(s, 2000) }, "size"},
		"purged":    {func(s *Store) { s.Purge("", "c") }, "age"},
		"too many": {func(s *Store) {
			for range 100 {
				s.Append("", "c", Text, nil, second)
			}
		}, "size"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(Keep{Messages: 40}, 64<<10)
			for range 40 {
				s.Append("", "c", Text, nil, second)
			}
			w := s.Walk()
			var b []byte
			for more := true; more && w.part.at < 30; {
				b, more = w.Next(b, 1)
			}
			journal := s.Now("")
			tc.then(s)
			for more := true; more; {
				b, more = w.Next(b, 1)
			}
			for i := journal.Offset + 1; i <= s.Now("").Offset && name == "too many"; i++ {
				b = AppendMessage(b, "", "c", Stamp{Position: Position{1, i}, Prev: i - 1}, Text, nil, second)
			}
			a := loadedFrom(t, s.o, b).From("", "c", Position{1, 30}, 1<<20, second)
			if got := strings.TrimSpace(a.texts() + a.Reason.String()); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// fill has the store forget what is older.
func fill(s *Store, n int) {
	for i := range n {
		s.Append("", fmt.Sprint("other", i), Text, make([]byte, 100), second)
	}
}

// TestWalkIsBounded: no piece is longer than was asked for, but for one frame, and
// none looks at more of the table than that; whatever is in the store.
func TestWalkIsBounded(t *testing.T) {
	const size, most = 4000, 300 // of a frame
	s := newStore(Keep{Messages: 5000}, 64<<20)
	for i := range 30_000 {
		s.Append("", fmt.Sprint("c", i%9000), Text, []byte("x"), second)
		s.Append("", "one that is large", Text, make([]byte, 200), second)
		s.Remember("", "c", fmt.Sprint("key", i), Position{1, 1}, second)
		s.Newer("", fmt.Sprint("v", i), 1)
	}
	for len(s.table) < 1<<18 { // most places are empty
		s.grow()
	}
	w, pieces, total := s.Walk(), 0, 0
	for more := true; more; pieces++ {
		var b []byte
		b, more = w.Next(nil, size)
		if len(b) > size+most {
			t.Fatalf("a piece of %d bytes", len(b))
		}
		total += len(b)
	}
	if pieces*(size+most) < total+placeCost*len(s.table) || total < 3<<20 {
		t.Errorf("%d bytes of %d places in %d pieces", total, len(s.table), pieces)
	}
}

func TestSavedKeys(t *testing.T) {
	s := newStore(Keep{Messages: 10}, 1<<20)
	s.Append("1", "1:a", Binary, []byte{0, 1}, second)
	s.Remember("1", "1:a", "k", Position{1, 1}, second)
	s.Newer("1", "1:a", 7)
	b := written(t, s)
	b = AppendVersion(AppendKey(b, "1", "1:b", "k", Position{1, 9}, second), "1", "1:b", 3)
	got := loadedFrom(t, s.o, b)
	for name, offset := range map[string]uint64{"1:a": 1, "1:b": 9} {
		if p, ok := got.Known("1", name, "k", second+1); !ok || p != (Position{1, offset}) {
			t.Errorf("%s: %v %v", name, p, ok)
		}
	}
	if newer, _ := got.Newer("1", "1:a", 7); newer {
		t.Error("a version is forgotten")
	}
	if newer, _ := got.Newer("1", "1:b", 3); newer {
		t.Error("a journaled version is forgotten")
	}
	a := got.From("1", "1:a", Position{1, 0}, 100, second)
	a.Each(func(m Message) {
		if m.Kind != Binary || string(m.Data) != "\x00\x01" {
			t.Errorf("%+v", m)
		}
	})
	if a.Messages != 1 {
		t.Errorf("%+v", a)
	}
}

// TestDamage: whatever byte is changed or cut off shows, but for a cut between
// two frames, which only the last offset shows.
func TestDamage(t *testing.T) {
	s := newStore(Keep{Messages: 10}, 1<<20)
	for range 5 {
		s.Append("", "room", Text, []byte("hello"), second)
	}
	b := written(t, s)
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 1 << (i % 8)
		if n := NewLoader(New(s.o)).Frames(c); n >= len(b) {
			t.Errorf("a changed byte at %d does not show", i)
		}
	}
	ends := 0
	for i := range b {
		if NewLoader(New(s.o)).Frames(b[:i]) == i {
			ends++
		}
	}
	if ends != 8 { // before each of 8 frames
		t.Errorf("%d cuts do not show", ends)
	}
}

func FuzzFrames(f *testing.F) {
	s := newStore(Keep{Messages: 10}, 1<<20)
	s.Append("1", "1:a", Binary, []byte{0, 1}, second)
	s.Remember("", "a", "k", Position{1, 1}, second)
	f.Add(written(f, s))
	f.Add(s.AppendPurge(nil, "1", "1:a", 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := New(s.o)
		l := NewLoader(got)
		l.body(b) // as if the sum were right
		l.Frames(b)
		l.Done()
		audit(t, got)
		written(t, got)
	})
}

func FuzzReply(f *testing.F) {
	s := newStore(Keep{Messages: 10}, 1<<20)
	s.Append("", "a", Binary, []byte("data"), second)
	a := s.From("", "a", Position{1, 0}, 100, second)
	f.Add(AppendReply(nil, &Want{Last: 3, Room: 100}, &a, 7))
	f.Add(AppendWant(nil, &Want{"c", "a", Position{1, 2}, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseReply(b); err == nil {
			n := 0
			p.EachMessage(func(Message) { n++ })
			if n != p.Count {
				t.Errorf("%d messages of %d", n, p.Count)
			}
		}
		_ = EachWant(b, func(Want) {})
		_ = EachStand(b, func(Stand) {})
		_ = EachKept(b, func(Kept) {})
	})
}

func TestWords(t *testing.T) {
	list := []Want{{"1.2", "room", Position{5, 1 << 40}, 0, 1000}, {"", "", Position{}, 20, 0}}
	var word []byte
	for i := range list {
		word = AppendWant(word, &list[i])
	}
	var got []Want
	if err := EachWant(word, func(w Want) { got = append(got, w) }); err != nil || !slices.Equal(got, list) {
		t.Errorf("%+v %v", got, err)
	}
	st := Stand{"1", 9, map[uint8]uint64{0: 1, 63: 1 << 50}, 1 << 51}
	if err := EachStand(AppendStand(nil, &st), func(s Stand) {
		if s.App != "1" || s.Epoch != 9 || len(s.Shards) != 2 || s.Shards[63] != 1<<50 || s.Offset != 1<<51 {
			t.Errorf("%+v", s)
		}
	}); err != nil {
		t.Error(err)
	}
	s := newStore(Keep{Messages: 10}, 1<<20)
	s.Append("", "a", Binary, []byte("data"), second)
	a := s.From("", "a", Position{1, 0}, 100, second)
	p, err := ParseReply(AppendReply(nil, &Want{After: Position{1, 0}, Room: 100}, &a, 7))
	if err != nil || p.Shard != 7 || p.Position != (Position{1, 1}) || p.After != (Position{1, 0}) || p.Room != 100 || p.Count != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := ParseReply(nil); err == nil {
		t.Error("nothing is a reply")
	}
}
