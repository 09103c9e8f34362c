package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
)

// event is a line of `go test -json`.
type event struct {
	Time       time.Time
	Action     string // run, pause, cont, pass, fail, skip, output, build-output, build-fail
	Package    string
	ImportPath string // of build-output
	Test       string // "" = the package
	Elapsed    float64
	Output     string
}

// test names one test of one package; without a name it is the package.
type test struct{ pkg, name string }

func (t test) String() string {
	return strings.TrimSuffix(strings.TrimPrefix(t.pkg, module)+" "+t.name, " ")
}

const module = "github.com/pushd/pushd/"

// What a failed test printed is shown by its first and last lines: a panic says
// what happened at its beginning, a failed check at its end.
const firstLines, lastLines = 10, 30

// summary is what has happened so far.
type summary struct {
	out            io.Writer
	running        map[test]time.Time
	said           map[test]*said // of those that run or have failed
	failed         []test
	passed, broken int // tests; broken: those that failed, and packages without a test that did
	skipped        int
	tests          map[string]int // by package
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, running: map[test]time.Time{}, said: map[test]*said{}, tests: map[string]int{}}
}

// note takes one event and reports whether it printed a line.
func (s *summary) note(e event) (told bool) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "run":
		s.running[t] = e.Time
	case "output":
		s.keep(t, e.Output)
	case "build-output":
		s.keep(test{pkg: e.ImportPath}, e.Output)
		fmt.Fprint(s.out, e.Output)
	case "pass", "skip", "fail":
		return s.end(t, e)
	}
	return false
}

// said is what a test has printed, the middle left out.
type said struct{ first, last []string }

func (s *summary) keep(t test, line string) {
	p := s.said[t]
	if p == nil {
		p = &said{}
		s.said[t] = p
	}
	if len(p.first) < firstLines {
		p.first = append(p.first, line)
		return
	}
	p.last = append(p.last, line)
	p.last = p.last[max(0, len(p.last)-lastLines):]
}

// lines are what was printed, in order; where some are left out it says so.
func (p *said) lines() []string {
	if p == nil {
		return nil
	}
	if len(p.last) < lastLines {
		return append(p.first, p.last...)
	}
	return append(append(p.first, "…\n"), p.last...)
}

// end counts a test or a package that is over.
func (s *summary) end(t test, e event) (told bool) {
	delete(s.running, t)
	switch {
	case e.Action == "fail":
		s.fail(t)
	case t.name == "":
	case e.Action == "pass":
		s.passed++
		s.tests[t.pkg]++
	case e.Action == "skip":
		s.skipped++
	}
	if t.name != "" {
		if e.Action != "fail" {
			delete(s.said, t)
		}
		return false
	}
	if e.Action == "skip" { // no test files
		return false
	}
	word := map[string]string{"pass": "ok  ", "fail": "FAIL"}[e.Action]
	fmt.Fprintf(s.out, "%s %7.1f s  %s (%d tests)\n", word, e.Elapsed, t, s.tests[t.pkg])
	return true
}

// fail notes a failure. A package fails with its tests; where none of them is
// known to have failed, those that were running when its time was over did, and
// without any the package itself: it did not build.
func (s *summary) fail(t test) {
	if t.name != "" {
		fmt.Fprintf(s.out, "FAIL            %s\n", t)
		s.add(t)
		return
	}
	for running := range s.running {
		if running.pkg == t.pkg {
			delete(s.running, running)
			s.add(running)
		}
	}
	if !s.hasFailed(t.pkg) {
		s.add(t)
	}
}

func (s *summary) add(t test) {
	s.broken++
	s.failed = append(s.failed, t)
}

func (s *summary) hasFailed(pkg string) bool {
	for _, t := range s.failed {
		if t.pkg == pkg {
			return true
		}
	}
	return false
}

// alive names what runs, when nothing has been said for a while.
func (s *summary) alive(now time.Time) {
	type slow struct {
		test
		since time.Time
	}
	var list []slow
	for t, since := range s.running {
		if !strings.Contains(t.name, "/") {
			list = append(list, slow{t, since})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].since.Before(list[j].since) })
	fmt.Fprintf(s.out, "…    %d passed so far", s.passed)
	for _, t := range list[:min(3, len(list))] {
		fmt.Fprintf(s.out, ", %s since %.0f s", t, now.Sub(t.since).Seconds())
	}
	fmt.Fprintln(s.out)
}

// tell ends the report.
func (s *summary) tell(file string) {
	for _, t := range s.failed {
		fmt.Fprintf(s.out, "\n--- %s\n", t)
		for _, line := range s.said[t].lines() {
			fmt.Fprint(s.out, "    ", line)
		}
	}
	if len(s.failed) > 0 {
		fmt.Fprintf(s.out, "\nfailed (all output: %s):\n", file)
		for _, t := range s.failed {
			fmt.Fprintf(s.out, "  %s\n", t)
		}
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.broken, s.skipped)
}
