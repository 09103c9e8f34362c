package history

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

const second = int64(1000)

func newStore(keep Keep, memory int) *Store {
	n := Epoch(0)
	return New(Options{Memory: memory, Keep: func(string) Keep { return keep }, Draw: func(string) Epoch { n++; return n }})
}

func (a *Answer) texts() string {
	var list []string
	a.Each(func(m Message) { list = append(list, fmt.Sprint(m.Offset, string(m.Data))) })
	return strings.Join(list, " ")
}

func TestOffsetsRiseThroughAnApp(t *testing.T) {
	s := newStore(Keep{Messages: 3, Age: time.Minute}, 1<<20)
	for i, tc := range []struct {
		app, name string
		want      Stamp
	}{
		{"1", "1:a", Stamp{Position{1, 1}, 0, 0}}, {"1", "1:b", Stamp{Position{1, 2}, 0, 0}}, {"1", "1:a", Stamp{Position{1, 3}, 1, 0}},
		{"", "a", Stamp{Position{2, 1}, 0, 0}}, {"1", "1:b", Stamp{Position{1, 4}, 2, 0}}, {"1", "1:a", Stamp{Position{1, 5}, 3, 0}},
	} {
		if st := s.Append(tc.app, tc.name, 0, []byte("x"), second); st != tc.want {
			t.Errorf("message %d of %s: %+v, want %+v", i, tc.name, st, tc.want)
		}
	}
	if now := s.Now("1"); now != (Position{1, 5}) {
		t.Errorf("now %v", now)
	}
}

// TestWholeOrNothing: each way in which an answer cannot be whole has a reason,
// and then there is no message in it.
func TestWholeOrNothing(t *testing.T) {
	s := newStore(Keep{Messages: 3, Age: time.Minute}, 1<<20)
	for i := range 5 { // 1 to 5 of "a", of which 3 to 5 are kept
		s.Append("", "a", 0, []byte{'a' + byte(i)}, second+int64(i)*10*second)
	}
	now := second + 40*second
	for _, tc := range []struct {
		name  string
		after Position
		room  int
		now   int64
		why   Reason
		want  string
	}{
		{"a", Position{1, 5}, 1000, now, Whole, ""},
		{"a", Position{1, 4}, 1000, now, Whole, "5e"},
		{"a", Position{1, 2}, 1000, now, Whole, "3c 4d 5e"},
		{"a", Position{1, 1}, 1000, now, Size, ""},
		{"a", Position{1, 0}, 1000, now, Size, ""},
		{"a", Position{}, 1000, now, Whole, ""},
		{"a", Position{1, 6}, 1000, now, Future, ""},
		{"a", Position{1, 1 << 63}, 1000, now, Future, ""},
		{"a", Position{2, 5}, 1000, now, OtherEpoch, ""},
		{"a", Position{Stranger, 5}, 1000, now, OtherEpoch, ""},
		{"a", Position{0, 5}, 1000, now, OtherEpoch, ""}, // an epoch that is missing is no excuse
		{"a", Position{1, 2}, 3 * (1 + MessageCost), now, Whole, "3c 4d 5e"},
		{"a", Position{1, 2}, 3*(1+MessageCost) - 1, now, Size, ""},
		{"never", Position{1, 0}, 1000, now, Whole, ""},
		{"a", Position{1, 2}, 1000, now + 41*second, Age, ""},
		{"a", Position{1, 3}, 1000, now + 41*second, Whole, "4d 5e"},
		{"a", Position{1, 4}, 1000, now + 61*second, Age, ""},
		{"a", Position{1, 5}, 1000, now + 70*second, Whole, ""}, // a quiet return
	} {
		a := s.From("", tc.name, tc.after, tc.room, tc.now)
		if a.Reason != tc.why || a.texts() != tc.want || a.Position != (Position{1, 5}) {
			t.Errorf("%s after %v at %d: %v %q at %v, want %v %q", tc.name, tc.after, tc.now, a.Reason, a.texts(), a.Position, tc.why, tc.want)
		}
	}
	if st := s.Append("", "a", 0, []byte("f"), now+200*second); st.Prev != 5 {
		t.Errorf("the message before is forgotten: %+v", st)
	}
}

func TestLatest(t *testing.T) {
	s := newStore(Keep{Messages: 9, Age: time.Minute, Latest: true}, 1<<20)
	for _, text := range []string{"a", "b", "c"} {
		s.Append("", "x", 0, []byte(text), second)
	}
	for _, after := range []Position{{1, 0}, {1, 2}, {7, 9}, {Stranger, 1}} {
		if a := s.From("", "x", after, 100, second); a.Reason != Whole || a.texts() != "3c" {
			t.Errorf("after %v: %v %q", after, a.Reason, a.texts())
		}
	}
	if a := s.From("", "x", Position{1, 3}, 100, second); a.Reason != Whole || a.texts() != "" {
		t.Errorf("who has it: %v %q", a.Reason, a.texts())
	}
}

func TestLast(t *testing.T) {
	s := newStore(Keep{Messages: 5, Age: time.Minute}, 1<<20)
	for i := range 7 {
		s.Append("", "x", 0, []byte{'a' + byte(i)}, second)
	}
	for n, want := range map[int]string{0: "", 1: "7g", 3: "5e 6f 7g", 100: "3c 4d 5e 6f 7g"} {
		if a := s.Last("", "x", n, 1000, second); a.texts() != want || a.Position != (Position{1, 7}) {
			t.Errorf("%d: %q at %v", n, a.texts(), a.Position)
		}
	}
	if a := s.Last("", "x", 5, 2*(1+MessageCost), second); a.texts() != "6f 7g" {
		t.Errorf("in little room: %q", a.texts())
	}
	if a := s.Last("", "none", 5, 100, second); a.texts() != "" || a.Reason != Whole {
		t.Errorf("of nothing: %+v", a)
	}
}

// TestOldestGoFirst: over all channels, whoever has how many, and counted.
func TestOldestGoFirst(t *testing.T) {
	s := newStore(Keep{Messages: 1000, Age: time.Hour}, 64<<10)
	data := make([]byte, 100)
	for i := range 3000 {
		s.Append("", fmt.Sprint("c", i%7), 0, data, second+int64(i))
	}
	c := s.Counts()
	if c.Bytes > 64<<10 || c.Bytes < 48<<10 || int(c.Evicted)+c.Messages != 3000 || c.Numbered != 3000 {
		t.Fatalf("%+v", c)
	}
	for i := range 7 {
		name := fmt.Sprint("c", i)
		a := s.Last("", name, 1000, 1<<20, second)
		oldest := uint64(0)
		a.Each(func(m Message) {
			if oldest == 0 {
				oldest = m.Offset
			}
		})
		if gone := 3000 - uint64(c.Messages); oldest <= gone || oldest > gone+7 {
			t.Errorf("%s begins at %d; %d have gone", name, oldest, gone)
		}
		if a := s.From("", name, Position{1, oldest - 8}, 1<<20, second); a.Reason != Size {
			t.Errorf("%s: %v", name, a.Reason)
		}
	}
}

// TestQuietChannelsStayKnown: who is up to date in a channel in which nothing is
// said any more comes back to it after any time; with very many such channels
// the older half is forgotten, and who cannot be told is told so.
func TestQuietChannelsStayKnown(t *testing.T) {
	s := newStore(Keep{Messages: 10, Age: time.Second}, 1<<20)
	now := second
	for i := range 1000 {
		s.Append("", fmt.Sprint("c", i), 0, []byte("x"), now)
	}
	for range 3 {
		now += 3600 * second
		s.Sweep(s.Places(), now)
	}
	if a := s.From("", "c3", Position{1, 4}, 100, now); a.Reason != Whole {
		t.Errorf("a quiet return: %v", a.Reason)
	}
	if a := s.From("", "c3", Position{1, 3}, 100, now); a.Reason != Age {
		t.Errorf("one who has missed something: %v", a.Reason)
	}
	if c := s.Counts(); c.Channels != 1000 || c.Messages != 0 {
		t.Errorf("%+v", c)
	}
	for i := range 10000 {
		s.Append("", fmt.Sprint("d", i), 0, []byte("x"), now)
	}
	now += 3600 * second
	for range 20 {
		s.Sweep(s.Places(), now)
	}
	c := s.Counts()
	if c.Channels > 5000 || c.Channels < 1000 || c.Evicted > 2500 || c.Bytes > 1<<20 {
		t.Errorf("%+v", c)
	}
	if a := s.From("", "c3", Position{1, 4}, 100, now); a.Reason != Age {
		t.Errorf("of a forgotten channel: %v", a.Reason)
	}
	if a := s.From("", "c3", Position{1, 11000}, 100, now); a.Reason != Whole {
		t.Errorf("who knows all of the app: %v", a.Reason)
	}
}

func TestPurge(t *testing.T) {
	s := newStore(Keep{Messages: 10, Age: time.Minute}, 1<<20)
	for _, text := range []string{"a", "secret", "c"} {
		s.Append("", "x", 0, []byte(text), second)
	}
	if s.PurgeOne("", "x", 9) || s.PurgeOne("", "y", 2) || !s.PurgeOne("", "x", 2) || s.PurgeOne("", "x", 2) {
		t.Error("purge of one")
	}
	c := s.find(0, "x")
	if strings.Contains(string(c.buf[:cap(c.buf)]), "secret") {
		t.Error("it is still in memory")
	}
	if a := s.From("", "x", Position{1, 0}, 1000, second); a.Reason != Whole || a.texts() != "1a 3c" {
		t.Errorf("%v %q", a.Reason, a.texts())
	}
	if n := s.Purge("", "x"); n != 2 || s.Purge("", "x") != 0 || s.Purge("", "y") != 0 {
		t.Errorf("purged %d", n)
	}
	if a := s.From("", "x", Position{1, 2}, 1000, second); a.Reason != Age {
		t.Errorf("who had not read it: %v", a.Reason)
	}
	if a := s.From("", "x", Position{1, 3}, 1000, second); a.Reason != Whole {
		t.Errorf("who had: %v", a.Reason)
	}
	s.Append("", "x", 0, []byte("d"), second)
	if a := s.From("", "x", Position{1, 3}, 1000, second); a.texts() != "4d" {
		t.Errorf("%q", a.texts())
	}
}

func TestKeysAndVersions(t *testing.T) {
	s := newStore(Keep{Messages: 10, Age: time.Minute}, 1<<20)
	s.Remember("", "x", "k", Position{1, 7}, second)
	if p, ok := s.Known("", "x", "k", second+KeyAge-1); !ok || p.Offset != 7 {
		t.Errorf("%v %v", p, ok)
	}
	for _, tc := range []struct {
		app, name, key string
		now            int64
	}{{"", "x", "k", second + KeyAge}, {"", "y", "k", second}, {"", "x", "l", second}, {"1", "x", "k", second}} {
		if _, ok := s.Known(tc.app, tc.name, tc.key, tc.now); ok {
			t.Errorf("%+v is known", tc)
		}
	}
	early := 0
	for i := range MaxKeys + 10 {
		early += s.Remember("", "x", fmt.Sprint(i), Position{1, uint64(i)}, second+1)
	}
	if early != 11 {
		t.Errorf("%d went early", early)
	}
	if _, ok := s.Known("", "x", "9", second+2); ok {
		t.Error("the oldest is known")
	}
	if p, ok := s.Known("", "x", "10", second+2); !ok || p.Offset != 10 {
		t.Error("the oldest but ten is not known")
	}
	if early := s.Remember("", "x", "new", Position{}, second+2+KeyAge); early != 0 || len(s.seqs[0].keys.known) != 1 {
		t.Errorf("%d of %d went early", early, len(s.seqs[0].keys.known))
	}
	for _, tc := range []struct {
		version uint64
		newer   bool
	}{{5, true}, {5, false}, {4, false}, {6, true}, {0, false}, {1 << 63, true}} {
		if newer, _ := s.Newer("", "x", tc.version); newer != tc.newer {
			t.Errorf("version %d: %v", tc.version, newer)
		}
	}
	early = 0
	for i := range MaxKeys {
		_, n := s.Newer("", fmt.Sprint("c", i), 1)
		early += n
	}
	if newer, _ := s.Newer("", "x", 1); early != 1 || !newer {
		t.Errorf("%d versions went early", early)
	}
}

// TestAgainstAModel: whatever is done in whatever order, what is answered is
// what a plain list would answer, or nothing with a reason that holds.
func TestAgainstAModel(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		keep := Keep{Messages: 1 + r.IntN(20), Age: time.Duration(1+r.IntN(30)) * time.Second}
		s := newStore(keep, 4<<10+r.IntN(32<<10))
		log := map[string][]Message{}
		now := second
		for range 3000 {
			now += r.Int64N(400)
			name := fmt.Sprint("c", r.IntN(12))
			switch r.IntN(12) {
			case 0:
				s.Sweep(r.IntN(16), now)
			case 1:
				if list := log[name]; len(list) > 0 && r.IntN(4) == 0 {
					i := r.IntN(len(list))
					if s.PurgeOne("", name, list[i].Offset) {
						log[name] = slices.Delete(list, i, i+1)
					}
				}
			case 2, 3, 4:
				check(t, s, name, log[name], Position{1, r.Uint64N(s.Now("").Offset + 2)}, now)
			default:
				data := make([]byte, r.IntN(200))
				for i := range data {
					data[i] = byte(r.Uint32())
				}
				kind := byte(r.IntN(3))
				st := s.Append("", name, kind, data, now)
				log[name] = append(log[name], Message{st.Offset, now, kind, data})
			}
		}
		if c := s.Counts(); c.Bytes > s.o.Memory {
			t.Fatalf("%+v, may have %d", c, s.o.Memory)
		}
		audit(t, s)
	}
}

// audit compares what is counted with what is there.
func audit(t *testing.T, s *Store) {
	t.Helper()
	live, used, messages, stale := 0, 0, 0, 0
	for _, c := range s.table {
		for ; c != nil; c = c.next {
			used, live, messages, stale = used+1, live+c.weight(), messages+int(c.n), stale+int(c.stale)
		}
	}
	if c := s.Counts(); live != s.live || used != c.Channels || messages != c.Messages || stale > s.stale {
		t.Fatalf("counted %+v, %d bytes, %d stale; there are %d channels, %d messages, %d bytes, %d stale", c, s.live, s.stale, used, messages, live, stale)
	}
}

func check(t *testing.T, s *Store, name string, log []Message, after Position, now int64) {
	t.Helper()
	i, _ := slices.BinarySearchFunc(log, after.Offset+1, func(m Message, o uint64) int { return int(m.Offset) - int(o) })
	missed := log[i:]
	a := s.From("", name, after, 1<<20, now)
	switch {
	case after.Offset > s.Now("").Offset:
		if a.Reason != Future {
			t.Fatalf("%v: %v", after, a.Reason)
		}
	case a.Reason == Whole:
		n := 0
		a.Each(func(m Message) {
			if w := missed[min(n, len(missed)-1)]; m.Offset != w.Offset || m.Time != w.Time || m.Kind != w.Kind || string(m.Data) != string(w.Data) {
				t.Fatalf("%s after %v: message %d is %d, want %d", name, after, n, m.Offset, w.Offset)
			}
			n++
		})
		if n != len(missed) || n != a.Messages {
			t.Fatalf("%s after %v: %d of %d, and recovered", name, after, n, len(missed))
		}
	case a.Messages != 0 || len(a.records) != 0 || a.Reason != Age && a.Reason != Size:
		t.Fatalf("%s after %v: %+v", name, after, a)
	}
}

// TestBytes holds what a channel and a message cost, in live heap.
func TestBytes(t *testing.T) {
	if size := unsafe.Sizeof(channel{}); size != 64 {
		t.Errorf("channel takes %d bytes", size)
	}
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const channels = 10_000
	data := make([]byte, 128)
	s := newStore(Keep{Messages: 100, Age: time.Hour}, 1<<30)
	before := heap()
	fill := func(n int) {
		for range n {
			for i := range channels {
				s.Append("", fmt.Sprintf("room-%06d", i), 0, data, 1_700_000_000_000)
			}
		}
	}
	fill(1)
	one := heap() - before
	fill(19)
	more := (heap() - before - one) / 19
	t.Logf("%d B for a channel of one message of 128 B, %d B for each further; counted as %d B", one/channels, more/channels, s.Bytes()/channels)
	if one > 260*channels {
		t.Errorf("a channel of one message takes %d bytes", one/channels)
	}
	if more > 180*channels {
		t.Errorf("a further message takes %d bytes", more/channels)
	}
	runtime.KeepAlive(s)
}

func BenchmarkAppend(b *testing.B) {
	s := newStore(Keep{Messages: 100, Age: time.Hour}, 256<<20)
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("channel-", i)
	}
	data := make([]byte, 128)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Append("", names[i%len(names)], 0, data, second)
	}
}
