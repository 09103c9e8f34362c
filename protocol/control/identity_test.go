package control

import "testing"

func TestIdentity(t *testing.T) {
	for text, want := range map[string]Identity{
		"push/0/1":               {Group: "push", Generation: 1},
		"ingest-1/12/300":        {Group: "ingest-1", Slot: 12, Generation: 300},
		"web1.example.org/a/2/3": {Node: "web1.example.org", Group: "a", Slot: 2, Generation: 3},
	} {
		got, ok := ParseIdentity(text)
		if !ok || got != want || got.String() != text {
			t.Errorf("%s: %+v %v", text, got, ok)
		}
		if p := got.Place(); p.Generation != 0 || p.Group != want.Group || p.Node != want.Node {
			t.Errorf("place of %s: %+v", text, p)
		}
		if on := got.On("n").String(); on != "n/"+(Identity{Group: want.Group, Slot: want.Slot, Generation: want.Generation}).String() {
			t.Errorf("on a node: %s", on)
		}
	}
	for _, text := range []string{"", "/", "push", "push/0", "push/0/x", "push/x/1", "/0/1", "/a/0/1", "a/b/c/0/1", "push/-1/1", "push/01/1", "push/+1/1", "roster", "n/roster", "push/0/1/"} {
		if got, ok := ParseIdentity(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	i := Init{Name: "push", Slot: 3, Generation: 4}
	if got := i.Identity().String(); got != "push/3/4" {
		t.Error(got)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add("push/0/1")
	f.Add("node.a/push/0/1")
	f.Fuzz(func(t *testing.T, s string) {
		if i, ok := ParseIdentity(s); ok && i.String() != s {
			t.Errorf("%q became %q", s, i.String())
		}
	})
}
