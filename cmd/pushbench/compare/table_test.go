package compare

import (
	"slices"
	"strings"
	"testing"
)

// result has two rounds of each measure; value makes the number of a server.
func result(value func(server string, l line, round int) float64) *Result {
	r := &Result{Rounds: 2}
	for _, s := range servers {
		for round := range r.Rounds {
			for _, m := range measures {
				if !m.of(s, round) {
					continue
				}
				run := Run{Server: s.name, Measure: m.name, Round: round, OK: true, Numbers: map[string]float64{}}
				for _, l := range lines {
					if l.measure == m.name {
						run.Numbers[l.metric] = value(s.name, l, round)
					}
				}
				r.Runs = append(r.Runs, run)
			}
		}
	}
	return r
}

// Each line is reached by exactly its reach, and missed by a little less.
func TestReach(t *testing.T) {
	for _, factor := range []struct {
		by     float64
		missed int
	}{{1, 0}, {0.999, 1}} {
		for i := range lines {
			r := result(func(server string, l line, _ int) float64 {
				ours := l.reach
				if l.of != "" {
					ours *= 100
				}
				switch {
				case server != pushd:
					return 100
				case l != lines[i]:
					return ours
				case l.more:
					return ours * factor.by
				}
				return ours / factor.by
			})
			if missed := r.Missed(); len(missed) != factor.missed {
				t.Errorf("%s × %v: missed %q", lines[i].title, factor.by, missed)
			}
			if n := strings.Count(r.Markdown(), "| missed |"); n != factor.missed {
				t.Errorf("%s × %v: the table says missed %d times", lines[i].title, factor.by, n)
			}
		}
	}
}

func TestTables(t *testing.T) {
	r := result(func(name string, _ line, round int) float64 {
		i := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
		return float64(1000*(i+1) + 100*round)
	})
	for want, table := range map[string]string{
		"| idle connection, memory | 1,050 (1,000–1,100) B | 2,050 | 0.51 | 3,050 (nbio) | 0.34 | ≤ 640 B | missed |": r.Markdown(),
		// More is better here, so the best peer is the last.
		"| echo, 100 connections: rate | 1,050 (1,000–1,100) /s | 2,050 | 0.51 | 8,050 (melody) | 0.13 | ≥ 1 × best peer | missed |": r.Markdown(),
		// Who has no API is compared by its chat.
		"| fan-out by HTTP API: rate | 1,050 (1,000–1,100) /s | 2,050 | 0.51 | 11,050 (nchan) | 0.10 | ≥ 1 × best peer | missed |": r.Markdown(),
		"| idle connection, memory, B | 1,050 (1,000–1,100) | 2,050 (2,000–2,100) | 3,050 (3,000–3,100) |":                         r.All(),
	} {
		if !strings.Contains(table, strings.TrimSuffix(want, "|")) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
	r.Runs[3].OK, r.Runs[3].Errors = false, []string{"nothing came"}
	if faults := r.Faults(); len(faults) != 1 || !strings.Contains(faults[0], "nothing came") {
		t.Errorf("faults %q", faults)
	}
	for i := range r.Runs {
		if run := &r.Runs[i]; run.Server == "nbio" && run.Measure == "idle" {
			run.OK, run.Errors = false, []string{"two\nlines"}
		}
	}
	if want := "Not as it should be: rounds 1, 2 nbio, idle: two lines\n"; !strings.Contains(r.Markdown(), want) {
		t.Errorf("no %q in\n%s", want, r.Markdown())
	}
}

func TestChoose(t *testing.T) {
	if all, absent, err := choose(Options{}); err != nil || len(all)+len(absent) != len(servers) {
		t.Errorf("%v, %v, %v", all, absent, err)
	}
	if two, _, err := choose(Options{Only: []string{"gws", "pushd"}}); err != nil || len(two) != 2 || two[0].name != "gws" {
		t.Errorf("%v, %v", two, err)
	}
	if _, _, err := choose(Options{Only: []string{"gsw"}}); err == nil {
		t.Error("an unknown server is chosen")
	}
}

func TestFormat(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.4: "0.4", 1.084: "1.08", 12.34: "12.3", 560: "560", 999.9: "1,000", 1234567: "1,234,567"} {
		if got := format(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}
