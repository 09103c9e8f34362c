package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/history"
)

// Report is the outcome of a run, as --json prints it.
type Report struct {
	Pushbench  int                 `json:"pushbench"` // version of this form
	Command    string              `json:"command"`
	Label      string              `json:"label"`
	URL        string              `json:"url"`
	Started    time.Time           `json:"started"`
	Machine    Machine             `json:"machine"`
	OK         bool                `json:"ok"`
	Numbers    Numbers             `json:"numbers"`
	Problems   []string            `json:"problems,omitempty"` // faults that are no Violation
	Behind     bool                `json:"behind,omitempty"`   // the load was not what was asked for; one of Problems says how
	Violations []history.Violation `json:"violations,omitempty"`
}

// maxViolations is how many a report holds; its numbers count them all.
const maxViolations = 2000

// Machine is where client and, usually, server ran.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
}

func machine() Machine {
	var name unix.Utsname
	_ = unix.Uname(&name)
	version, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-") // without what a distribution adds
	return Machine{CPUs: runtime.NumCPU(), Kernel: version}
}

// Numbers are measurements in the order in which they were taken. Each name
// ends in its unit, unless it is a plain count.
type Numbers []Number

// Number is one measurement.
type Number struct {
	Name  string
	Value float64
}

// Set adds a number.
func (n *Numbers) Set(name string, value float64) { *n = append(*n, Number{name, value}) }

// Get returns the number of that name.
func (n Numbers) Get(name string) (float64, bool) {
	for _, number := range n {
		if number.Name == name {
			return number.Value, true
		}
	}
	return 0, false
}

// percentiles adds those of a histogram of nanoseconds, in microseconds.
func (n *Numbers) percentiles(name string, h *hdrhistogram.Histogram) {
	if h == nil || h.TotalCount() == 0 {
		return
	}
	n.Set(name+"_count", float64(h.TotalCount()))
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}} {
		n.Set(name+"_"+p.name+"_us", float64(h.ValueAtPercentile(p.at))/1e3)
	}
	n.Set(name+"_max_us", float64(h.Max())/1e3)
}

// MarshalJSON writes an object in the order of the numbers.
func (n Numbers) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, number := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", number.Name, strconv.FormatFloat(number.Value, 'f', -1, 64))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads such an object.
func (n *Numbers) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("numbers: want an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value float64
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("number %v: %w", name, err)
		}
		n.Set(name.(string), value)
	}
	return nil
}

// judge takes the faults of a history into the report.
func (r *Report) judge(h *history.History) {
	violations := history.Check(h)
	counts := history.Count(violations)
	for _, kind := range []history.Kind{history.Loss, history.Duplicate, history.Reorder, history.Corrupt, history.Closed, history.Refused, history.False} {
		r.Numbers.Set("faults_"+strings.ReplaceAll(string(kind), " ", "_"), float64(counts[kind]))
	}
	r.Violations = violations[:min(len(violations), maxViolations)]
	r.OK = len(violations) == 0 && len(r.Problems) == 0
}

func (r *Report) problem(format string, a ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, a...))
}

// late notes dials that were not made, as so many were on their way.
func (r *Report) late(dials int64, most int) {
	r.Behind = true
	r.problem("%d dials were skipped: %d were on their way already", dials, most)
}

// verdict is the last line. A load that fell behind without a fault says nothing
// bad of the server's bytes: nobody had the time.
func (r *Report) verdict() string {
	switch {
	case r.OK:
		return "ok: every byte accounted for"
	case r.Behind && len(r.Violations) == 0 && len(r.Problems) == 1:
		return "NOT MEASURED: nothing was lost, repeated, reordered, damaged or closed, but this client could not keep its timetable: " +
			"run it on a quieter machine, or with less load"
	}
	return fmt.Sprintf("FAILED: %v", errFaulty)
}

// print writes the report for a person.
func (r *Report) print(w io.Writer) {
	p := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format, a...) }
	p("%s %s %s\n", r.Command, r.Label, r.URL)
	for _, n := range r.Numbers {
		decimals := 1
		if n.Value == float64(int64(n.Value)) {
			decimals = 0
		}
		p("  %-44s %14s\n", n.Name, strconv.FormatFloat(n.Value, 'f', decimals, 64))
	}
	faults := append(slices.Clone(r.Problems), grouped(r.Violations)...)
	const shown = 20
	for _, fault := range faults[:min(len(faults), shown)] {
		p("  FAULT %s\n", fault)
	}
	if len(faults) > shown {
		p("  and more; --json names them\n")
	}
	p("%s\n", r.verdict())
}

// grouped says faults that differ only in the connection once, with a count.
func grouped(violations []history.Violation) (lines []string) {
	type group struct {
		kind   history.Kind
		role   history.Role
		detail string
	}
	alike := map[group]int{}
	for _, v := range violations {
		alike[group{v.Kind, v.Role, v.Detail}]++
	}
	for _, v := range violations {
		g := group{v.Kind, v.Role, v.Detail}
		if n := alike[g]; n > 1 {
			lines = append(lines, fmt.Sprintf("%s (and %d more like it)", v, n-1))
		} else if n == 1 {
			lines = append(lines, v.String())
		}
		delete(alike, g)
	}
	return lines
}
