package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// written is what Save writes.
func written(t testing.TB, s *Store) (b []byte) {
	t.Helper()
	if err := s.Save(1000, func(frames []byte) error { b = append(b, frames...); return nil }); err != nil {
		t.Fatal(err)
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

// TestSavedAnswersAlike: what is saved at any moment, and what is journaled from
// then on, makes a store that answers as the one did, or with a reason.
func TestSavedAnswersAlike(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		keep := Keep{Messages: 1 + r.IntN(10), Age: time.Duration(5+r.IntN(60)) * time.Second}
		s := newStore(keep, 8<<10+r.IntN(32<<10))
		log := map[string][]Message{}
		now := second
		var b, journal []byte
		for step := range 2000 {
			now += r.Int64N(300)
			name := fmt.Sprint("c", r.IntN(9))
			switch r.IntN(40) {
			case 0:
				s.Sweep(r.IntN(16), now)
			case 1:
				offset := r.Uint64N(s.Now("").Offset + 2)
				journal = s.AppendPurge(journal, "", name, offset)
				if offset == 0 {
					s.Purge("", name)
				} else if s.PurgeOne("", name, offset) {
					log[name] = slices.DeleteFunc(log[name], func(m Message) bool { return m.Offset == offset })
				}
			default:
				data := make([]byte, r.IntN(100))
				st := s.Append("", name, Text, data, now)
				journal = AppendMessage(journal, "", name, st, Text, data, now)
				log[name] = append(log[name], Message{st.Offset, now, Text, data})
			}
			if step%500 == 250 {
				b, journal = written(t, s), nil
			}
			if step%400 != 399 || b == nil {
				continue
			}
			got := loadedFrom(t, s.o, journal, b)
			if got.Now("") != s.Now("") {
				t.Fatalf("at %v, was at %v", got.Now(""), s.Now(""))
			}
			audit(t, got)
			for i := range 9 {
				name := fmt.Sprint("c", i)
				for range 20 {
					after := Position{1, r.Uint64N(s.Now("").Offset + 1)}
					check(t, got, name, log[name], after, now)
					if s.From("", name, after, 1<<20, now).Reason == Whole && got.From("", name, after, 1<<20, now).Reason != Whole && len(journal) == 0 {
						t.Fatalf("%s after %v was whole", name, after)
					}
				}
			}
		}
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
	if ends != 7 { // before each of 7 frames
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
	st := Stand{"1", 9, map[uint8]uint64{0: 1, 63: 1 << 50}}
	if err := EachStand(AppendStand(nil, &st), func(s Stand) {
		if s.App != "1" || s.Epoch != 9 || len(s.Shards) != 2 || s.Shards[63] != 1<<50 {
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
