package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/history"
)

// asking returns what asks s what follows an offset of epoch 7 in a channel.
func asking(t *testing.T, s *history.Store) func(name string, offset uint64, want string) {
	return func(name string, offset uint64, want string) {
		t.Helper()
		a := s.From("", name, history.Position{Epoch: 7, Offset: offset}, 1<<20, 1)
		got := a.Reason.String()
		a.Each(func(m history.Message) { got += " " + string(m.Data) })
		if got != want {
			t.Errorf("%s after %d: %q, want %q", name, offset, got, want)
		}
	}
}

// TestFollow loads what others have numbered, from the middle on, and asks from
// everywhere: what may be missing is never taken for whole.
func TestFollow(t *testing.T) {
	const full = 3
	s := history.New(history.Options{
		Memory: 1 << 20,
		Keep:   func(string) history.Keep { return history.Keep{Messages: full, Age: time.Hour} },
		Draw:   func(string) history.Epoch { return 7 },
	})
	s.Follow("", 100, 40) // offsets to 100 are loaded; of those to 40 some may have gone with age
	for _, offset := range []uint64{30, 70} {
		s.Take("", "some", offset, history.Text, []byte(fmt.Sprint(offset)), 1, full)
	}
	for _, offset := range []uint64{60, 80, 90} {
		s.Take("", "full", offset, history.Text, []byte(fmt.Sprint(offset)), 1, full)
	}
	if now := s.Now(""); now != (history.Position{Epoch: 7, Offset: 100}) {
		t.Errorf("it is at %v", now)
	}
	ask := asking(t, s)
	ask("some", 28, "age") // 29 may have been one that is gone
	ask("some", 29, " 30 70")
	ask("some", 100, "")
	ask("full", 58, "size")
	ask("full", 59, " 60 80 90")
	ask("none", 39, "age")
	ask("none", 40, "")
	ask("none", 101, "future")
	st := s.Take("", "none", 105, history.Text, []byte("105"), 1, full)
	if st.Offset != 105 || s.Now("").Offset != 105 {
		t.Errorf("%+v, now %v", st, s.Now(""))
	}
	ask("none", 100, " 105")
	ask("none", 39, "age")
	if st := s.Take("", "none", 110, history.Text, []byte("110"), 1, full); st.Prev != 105 {
		t.Errorf("%+v", st)
	}
	s.Distrust("", 106)
	ask("none", 106, "age") // whatever is kept
	ask("none", 107, " 110")
	if a, b, c := s.Holds("", "none", 0, 1), s.Holds("", "none", 105, 1), s.Holds("", "none", 106, 1); a != 2 || b != 1 || c != 0 {
		t.Errorf("holds %d, %d, %d", a, b, c)
	}
}

// TestLost: of what others have numbered, some is gone before it comes here. Who was
// before that is told so, also when what there was before it is gone too.
func TestLost(t *testing.T) {
	const full = 3
	s := history.New(history.Options{
		Memory: 1 << 20,
		Keep:   func(string) history.Keep { return history.Keep{Messages: 5, Age: time.Hour} },
		Draw:   func(string) history.Epoch { return 7 },
	})
	s.Follow("", 0, 0)
	take := func(name string, offsets ...uint64) {
		for _, offset := range offsets {
			s.Take("", name, offset, history.Text, []byte(fmt.Sprint(offset)), 1, full)
		}
	}
	ask := asking(t, s)
	take("full", 1, 2)
	take("some", 3)
	take("none", 4)
	s.Lost("", 20, 0)
	take("full", 12, 13, 14) // 5 to 11 may have been others
	take("some", 15, 16)
	ask("full", 2, "size")
	ask("full", 11, " 12 13 14")
	ask("some", 3, " 15 16")
	ask("none", 4, "")
	take("full", 21) // no more of those; 1 goes
	ask("full", 2, "size")
	ask("full", 11, " 12 13 14 21")
	s.Stray("", "none") // one came without a number, at 21
	take("some", 22)
	take("none", 23)
	ask("none", 21, "age")
	ask("none", 22, " 23")
	ask("some", 21, " 22")
	s.Lost("", 30, 29) // and of any channel, for age
	ask("none", 29, "age")
	ask("none", 30, "")
	ask("new", 28, "age")
}
