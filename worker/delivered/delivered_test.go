package delivered

import (
	"maps"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/bus"
)

// of returns a publication.
func of(s Source, seq uint64) *bus.Publication {
	return &bus.Publication{Publisher: s.Publisher, Shard: s.Shard, Seq: seq}
}

// TestVectorForgetsSilentSources, but not before Idle.
func TestVectorForgetsSilentSources(t *testing.T) {
	var h Heard
	now := time.Hour
	gone, talks := Source{Publisher: 1}, Source{Publisher: 2}
	h.Note(of(gone, 7), now)
	for seq := uint64(1); seq <= 3; seq++ {
		now += Idle
		h.Note(of(talks, seq), now)
		v := h.Vector()
		if v[talks] != seq || (v[gone] == 7) != (seq == 1) || len(h.recent) > 2 {
			t.Fatalf("after %d times Idle: %v", seq, v)
		}
	}
}

func TestNewsAreWhatHasChanged(t *testing.T) {
	var h Heard
	a, b := Source{1, 1}, Source{2, 2}
	h.Note(of(a, 5), 0)
	if h.HasNews() || len(h.TakeNews()) != 0 {
		t.Error("there are news before anybody wants them")
	}
	h.NoteNews()
	if got := h.TakeNews(); !maps.Equal(got, Vector{a: 5}) {
		t.Errorf("at first: %v", got)
	}
	if h.HasNews() {
		t.Error("what was taken is news")
	}
	h.Note(of(b, 1), 0)
	h.Note(of(b, 2), 0)
	if got := h.TakeNews(); !h.Covers(got) || !maps.Equal(got, Vector{b: 2}) {
		t.Errorf("then: %v", got)
	}
	if h.Covers(Vector{b: 3}) || h.Covers(Vector{{3, 3}: 1}) || !h.Covers(Vector{a: 4, b: 2}) {
		t.Error("covers")
	}
	h.Note(of(a, 6), 0)
	h.EndNews()
	if h.Note(of(a, 7), 0); h.HasNews() {
		t.Error("there are news when nobody wants them any more")
	}
}

func TestVectorInWriting(t *testing.T) {
	v := Vector{{1, 2}: 3, {^uint64(0), 63}: ^uint64(0)}
	b := v.Append([]byte("head"))
	if len(b) != 4+4+2*Entry {
		t.Errorf("%d bytes", len(b))
	}
	got, rest, err := Parse(append(b[4:], "tail"...))
	if err != nil || !maps.Equal(got, v) || string(rest) != "tail" {
		t.Errorf("%v %q %v", got, rest, err)
	}
	for n := range b[4:] {
		if _, _, err := Parse(b[4 : 4+n]); err != ErrDamaged {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func FuzzVector(f *testing.F) {
	f.Add(Vector{{1, 2}: 3}.Append(nil))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := Parse(b)
		if err == nil && len(v)*Entry > len(b)-4-len(rest) {
			t.Errorf("%d sources in %d bytes", len(v), len(b)-len(rest))
		}
	})
}

func TestJournal(t *testing.T) {
	a := Source{1, 1}
	var j Journal
	if j.Note(*of(a, 1)); j.On() || j.Len() != 0 {
		t.Error("a closed journal notes")
	}
	j.Open()
	for seq := range uint64(5) {
		j.Note(*of(a, seq+1))
	}
	j.Open()
	var got []uint64
	j.After(Vector{a: 3}, func(p *bus.Publication) { got = append(got, p.Seq) })
	if len(got) != 2 || got[0] != 4 || got[1] != 5 {
		t.Errorf("after 3: %d", got)
	}
	if lost := j.Lacks(nil); lost != 0 {
		t.Errorf("%d are lost", lost)
	}
	if j.Close(); j.On() || j.Len() != 0 {
		t.Errorf("%+v is left", j)
	}
}

func TestJournalIsBounded(t *testing.T) {
	a := Source{1, 1}
	oldest := func(j *Journal) (first uint64) {
		j.After(nil, func(p *bus.Publication) {
			if first == 0 {
				first = p.Seq
			}
		})
		return first
	}
	var many Journal
	many.Open()
	for seq := range uint64(MaxEntries + 3) {
		many.Note(*of(a, seq+1))
	}
	if first := oldest(&many); many.Len() != MaxEntries || first != 4 || many.Lacks(Vector{a: 1}) != 2 || many.Lacks(nil) != 0 {
		t.Errorf("the first is %d", first)
	}
	var large Journal
	large.Open()
	data := make([]byte, MaxBytes/4)
	for seq := range uint64(5) {
		p := of(a, seq+1)
		p.Data = data
		large.Note(*p)
	}
	if first := oldest(&large); large.Len() != 3 || first != 3 || large.Lacks(nil) != 2 {
		t.Errorf("the first is %d", first)
	}
}

// TestJournalBehind: what was delivered before it began is missing to who has not had it,
// as far as anybody knows.
func TestJournalBehind(t *testing.T) {
	a, b, c := Source{1, 1}, Source{2, 2}, Source{3, 3}
	var j Journal
	j.OpenBehind(Vector{a: 9, b: 4, c: 5})
	if lost := j.Lacks(Vector{a: 7, b: 4}); lost != 2 {
		t.Errorf("%d are missing", lost)
	}
	if lost := j.Lacks(Vector{a: 6, b: 4}); lost != 0 {
		t.Errorf("counted twice: %d", lost)
	}
}

// TestMarks: what a vector says beside is no source.
func TestMarks(t *testing.T) {
	a := Source{1, 3}
	v := Vector{a: 8, a.Heard(): 9, Chain("app", 7, 3): 5}
	var h Heard
	h.Note(of(a, 8), 0)
	if !h.Covers(v) {
		t.Error("marks count as sources")
	}
	if at, ok := v[Chain("app", 7, 3)]; !ok || at != 5 {
		t.Error(at, ok)
	}
	if e := v.Epochs(); len(e) != 1 || e[AppHash("app")] != 7 {
		t.Error(e)
	}
	if heard := v.TakeHeard(); !maps.Equal(heard, Vector{a: 9}) || len(v) != 2 {
		t.Errorf("%v, left %v", heard, v)
	}
	for _, epoch := range []uint32{0, 8} {
		if _, ok := v[Chain("app", epoch, 3)]; ok {
			t.Error("of another epoch")
		}
	}
}

// TestMergeOfChains: one that is of another epoch now stands nowhere in the one before.
func TestMergeOfChains(t *testing.T) {
	a := Source{1, 3}
	v := Vector{a: 8, Chain("app", 7, 3): 5, Chain("app", 7, 4): 6, Chain("other", 7, 3): 2}
	v.Merge(Vector{a: 9, Chain("app", 8, 3): 1})
	if want := (Vector{a: 9, Chain("app", 8, 3): 1, Chain("other", 7, 3): 2}); !maps.Equal(v, want) {
		t.Errorf("%v, want %v", v, want)
	}
	v.Merge(Vector{Chain("app", 8, 5): 4})
	if len(v) != 4 {
		t.Errorf("%v", v)
	}
}

// TestSkips: each batch is judged by where it stood, and nothing is left at the end.
func TestSkips(t *testing.T) {
	from := Source{7, 1}
	batches := [][]string{{"a", "b"}, {"c"}, {"d", "e"}, {"f"}}
	at := []Vector{{from: 10}, {from: 10}, {from: 12}, {from: 12, {8, 1}: 1}}
	var s Skips[string]
	for i, conns := range batches {
		s.Add(conns, at[i])
	}
	if vectors, others := s.Cost(); vectors != 3 || others != 3 || s.Len() != 6 {
		t.Errorf("%d vectors, %d connections not at the first, of %d", vectors, others, s.Len())
	}
	for i, conns := range batches {
		for seq := range uint64(20) {
			for _, c := range conns {
				if s.Has(c, of(from, seq)) != (seq <= at[i][from]) {
					t.Fatalf("batch %d, number %d", i, seq)
				}
			}
		}
	}
	for i, conns := range batches {
		if s.Drop(conns); i < 3 && !s.Has("f", of(Source{8, 1}, 1)) {
			t.Fatal("another batch's end has taken what the last one has had")
		}
	}
	if s.at != nil || s.other != nil || s.conns != 0 {
		t.Errorf("%+v is left", s)
	}
}
