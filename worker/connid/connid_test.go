package connid_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pushd/pushd/worker/connid"
)

func TestEachIsAnother(t *testing.T) {
	var source connid.Source
	seen := map[connid.ID]bool{}
	for range 10_000 { // more than a page of randomness
		id := source.New()
		back, ok := connid.Parse(id.String())
		if seen[id] || !ok || back != id || connid.NumberOf(id.String()) != id.Number() {
			t.Fatalf("%s: seen %v, read back as %s", id, seen[id], back)
		}
		seen[id] = true
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]uint64{"1": 1, "9007199254740991": connid.MaxNumber} {
		if n, ok := connid.ParseNumber(text); n != want || !ok {
			t.Errorf("%s: %d %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "0", "01", "-1", "+1", "9007199254740992", "18446744073709551617", "1.2", "x"} {
		if n, ok := connid.ParseNumber(text); ok {
			t.Errorf("%q is the number %d", text, n)
		}
	}
	if n := connid.NumberOf("18014398509481985.7"); n != 1 { // bit 54 is no part of it
		t.Errorf("number %d", n)
	}
	if connid.NumberOf("17") != 0 || connid.NumberOf("") != 0 {
		t.Error("what is no ID has a number")
	}
}

func TestOrder(t *testing.T) {
	var ids []connid.ID
	for _, s := range []string{"2.1", "1.18446744073709551615", "1.2", "18446744073709551615.0"} {
		id, ok := connid.Parse(s)
		if !ok {
			t.Fatal(s)
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, connid.Compare)
	if got := fmt.Sprint(ids); got != "[1.2 1.18446744073709551615 2.1 18446744073709551615.0]" {
		t.Error(got)
	}
}

// FuzzID: only what String writes is an id.
func FuzzID(f *testing.F) {
	f.Add("8237.1942")
	f.Add("01.2")
	f.Add("18446744073709551616.1")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := connid.Parse(s); ok && id.String() != s {
			t.Fatalf("%q is the id %q", s, id)
		}
	})
}
