package history

import (
	"slices"
	"testing"
)

// back is a reader that has had messages 1 and 2, was away while 3 and 4 were sent,
// came back, and heard 5.
func back() *History {
	m := func(seq uint32) Event {
		return Event{Kind: Message, Epoch: "aaaaaa", Offset: 10 + uint64(seq), Stream: 1, Seq: seq}
	}
	return &History{
		Streams: []Stream{{ID: 1, Channel: "c", Publishes: make([]Publish, 5)}},
		Readers: []Reader{
			{ID: 7, Channel: "c", Events: []Event{
				{Kind: Joined}, m(1), m(2), {Kind: Away}, {Kind: Joined}, m(3), m(4), {Kind: Recovered, Count: 2}, m(5),
			}},
			{ID: 8, Channel: "c", Events: []Event{{Kind: Joined}, m(4), m(5)}}, // came later
		},
	}
}

// TestReaders: a history without fault has none, and each planted one is found.
func TestReaders(t *testing.T) {
	if found := Check(back()); len(found) != 0 {
		t.Fatalf("a whole history: %v", found)
	}
	for name, c := range map[string]struct {
		plant func(h *History, e []Event) []Event
		want  Kind
		count int
	}{
		"a hole while it was there":     {func(h *History, e []Event) []Event { return slices.Delete(e, 1+1, 3+5) }, Loss, 3},
		"a hole in what was missed":     {func(h *History, e []Event) []Event { e[7].Count = 1; return slices.Delete(e, 5, 6) }, False, 1},
		"nothing of what was missed":    {func(h *History, e []Event) []Event { e[7].Count = 0; return slices.Delete(e, 5, 7) }, Loss, 2},
		"the last one":                  {func(h *History, e []Event) []Event { return e[:8] }, Loss, 1},
		"a repeat while it was there":   {func(h *History, e []Event) []Event { return slices.Insert(e, 3, e[2]) }, Duplicate, 1},
		"a repeat in what was missed":   {func(h *History, e []Event) []Event { e[7].Count = 3; return slices.Insert(e, 5, e[2]) }, Duplicate, 1},
		"order":                         {func(h *History, e []Event) []Event { e[7].Count = 3; return slices.Insert(e, 6, e[1]) }, Reorder, 1},
		"fewer than it was told of":     {func(h *History, e []Event) []Event { e[7].Count = 3; return e }, False, 1},
		"a part, and the word of a gap": {func(h *History, e []Event) []Event { e[7] = Event{Kind: Lost, Reason: "age"}; return e }, False, 1},
		"another message at a position": {func(h *History, e []Event) []Event { h.Readers[1].Events[1].Offset++; return e }, Corrupt, 1},
	} {
		h := back()
		h.Readers[0].Events = c.plant(h, h.Readers[0].Events)
		if found := Check(h); Count(found)[c.want] < c.count {
			t.Errorf("%s: %v, want %d × %s", name, found, c.count, c.want)
		}
	}
	told := back()
	e := told.Readers[0].Events
	told.Readers[0].Events = append(slices.Clone(e[:5]), Event{Kind: Lost, Reason: "age"}, e[8])
	if found := Check(told); len(found) != 0 {
		t.Errorf("who is told of a gap has one: %v", found)
	}
	failed := back()
	failed.Streams[0].Publishes[2].Failed = "503"
	failed.Readers[0].Events[7].Count = 1
	failed.Readers[0].Events = slices.Delete(failed.Readers[0].Events, 5, 6)
	if found := Count(Check(failed)); len(found) != 1 || found[Refused] != 1 {
		t.Errorf("what the publisher is not sure of need not come: %v", found)
	}
}
