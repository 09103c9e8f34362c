package history

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestPosition(t *testing.T) {
	for _, p := range []Position{{1, 0}, {Draw(math.MaxUint64), 1042}, {epochs - 1, math.MaxUint64}, {Draw(0), 1 << 63}} {
		got, err := Parse(p.String())
		if err != nil || got != p || len(p.Epoch.String()) != epochText {
			t.Errorf("%+v is %q, read as %+v, %v", p, p, got, err)
		}
	}
	for _, s := range []string{
		"", ":", "k3x9ab", "k3x9ab:", ":1", "k3x9a:1", "k3x9abc:1", "K3X9AB:1", "000000:1", "k3x9ab:01", "k3x9ab:+1", "k3x9ab:-1",
		"k3x9ab: 1", "k3x9ab:1 ", "k3x9ab:1:2", "k3x9ab:18446744073709551616", "k3x9ab:1e3", "k3_9ab:1", "k3x9a\xff:1",
		strings.Repeat("a", 1<<20) + ":1", "k3x9ab:" + strings.Repeat("1", 1<<20),
	} {
		if p, err := Parse(s); err == nil {
			t.Errorf("%.40q is taken as %+v", s, p)
		} else if len(err.Error()) > 200 {
			t.Errorf("the error repeats what was sent")
		}
	}
	for _, s := range []string{"", "x", "000000", strings.Repeat("a", 1<<20), "zzzzzzz", "ABCDEF"} {
		if e := ParseEpoch(s); e != Stranger {
			t.Errorf("epoch %.20q is %v", s, e)
		}
	}
	raw, err := json.Marshal(struct{ P, Q Position }{P: Position{35, 7}})
	if err != nil || string(raw) != `{"P":"00000z:7","Q":""}` {
		t.Errorf("%s %v", raw, err)
	}
	var back struct{ P, Q Position }
	if err := json.Unmarshal(raw, &back); err != nil || back.P != (Position{35, 7}) || back.Q != (Position{}) {
		t.Errorf("%+v %v", back, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"k3x9ab:1042", "000001:0", "zzzzzz:18446744073709551615", ":", "k3x9ab:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err == nil && p.String() != s {
			t.Errorf("%q is read as %+v, which is %q", s, p, p)
		}
		if err == nil && (p.Epoch == 0 || p.Epoch == Stranger) {
			t.Errorf("%q has no epoch", s)
		}
	})
}
