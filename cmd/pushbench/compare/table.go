package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// spread is what a number was over the rounds.
type spread struct{ low, median, high float64 }

func (s spread) String() string {
	if s.low == s.high {
		return format(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", format(s.median), format(s.low), format(s.high))
}

// spread returns what the rounds gave for a server; ok is false if none did.
func (r *Result) spread(server, measure, metric string) (s spread, ok bool) {
	var values []float64
	for _, run := range r.Runs {
		if v, has := run.Numbers[metric]; has && run.Server == server && run.Measure == measure {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return s, false
	}
	slices.Sort(values)
	n := len(values)
	return spread{values[0], (values[(n-1)/2] + values[n/2]) / 2, values[n-1]}, true
}

// Faults lists the runs in which something was not as pushd should have it.
func (r *Result) Faults() []string {
	return r.faults(func(server string) bool { return server == pushd })
}

// Others lists those of the other servers.
func (r *Result) Others() []string {
	return r.faults(func(server string) bool { return server != pushd })
}

// faults names each once, however many rounds it was met in.
func (r *Result) faults(of func(server string) bool) (faults []string) {
	rounds := map[string][]string{}
	var order []string
	for _, run := range r.Runs {
		if run.OK || !of(run.Server) {
			continue
		}
		fault := fmt.Sprintf("%s, %s: %s", run.Server, cmp.Or(run.Measure, "ended"), strings.Join(run.Errors, "; "))
		if rounds[fault] == nil {
			order = append(order, fault)
		}
		rounds[fault] = append(rounds[fault], strconv.Itoa(run.Round+1))
	}
	for _, fault := range order {
		plural := ""
		if len(rounds[fault]) > 1 {
			plural = "s"
		}
		faults = append(faults, fmt.Sprintf("round%s %s %s", plural, strings.Join(rounds[fault], ", "), fault))
	}
	return faults
}

// Missed names the lines in which pushd does not reach what it should.
func (r *Result) Missed() (missed []string) {
	for _, l := range lines {
		if c, ok := r.compare(l); ok && !c.reached {
			missed = append(missed, fmt.Sprintf("%s: %s %s, reach %s", l.title, format(c.ours.median), l.unit, l.bound()))
		}
	}
	return missed
}

// comparison of pushd with the others in one line.
type verdict struct {
	ours, gnet, best spread
	hasGnet, hasBest bool
	bestName         string
	toGnet, toBest   float64 // ours divided by theirs
	reached          bool
}

func (r *Result) compare(l line) (v verdict, ok bool) {
	if v.ours, ok = r.spread(pushd, l.measure, l.metric); !ok {
		return v, false
	}
	if v.gnet, v.hasGnet = r.theirs(gnet, l); v.hasGnet {
		v.toGnet = v.ours.median / v.gnet.median
	}
	for _, s := range servers {
		theirs, has := r.theirs(s.name, l)
		if s.name == pushd || s.name == gnet || !has {
			continue
		}
		if better := theirs.median < v.best.median != l.more; !v.hasBest || better {
			v.best, v.bestName, v.hasBest = theirs, s.title, true
		}
	}
	if v.hasBest {
		v.toBest = v.ours.median / v.best.median
	}
	v.reached = l.reached(v)
	return v, true
}

// theirs is what a line has of another server: the same measure, or the nearest.
func (r *Result) theirs(server string, l line) (s spread, ok bool) {
	if s, ok = r.spread(server, l.measure, l.metric); !ok && l.to != "" {
		s, ok = r.spread(server, l.to, l.metric)
	}
	return s, ok
}

func (l line) reached(v verdict) bool {
	value := v.ours.median
	switch l.of {
	case gnet:
		if value = v.toGnet; !v.hasGnet {
			return true
		}
	case bestPeer:
		if value = v.toBest; !v.hasBest {
			return true
		}
	}
	if l.more {
		return value >= l.reach
	}
	return value <= l.reach
}

// bound says what a line must reach.
func (l line) bound() string {
	sign := "≤"
	if l.more {
		sign = "≥"
	}
	switch l.of {
	case gnet:
		return fmt.Sprintf("%s %s × bare gnet", sign, format(l.reach))
	case bestPeer:
		return fmt.Sprintf("%s %s × best peer", sign, format(l.reach))
	}
	return fmt.Sprintf("%s %s %s", sign, format(l.reach), l.unit)
}

// Markdown is the table of pushd against the reach of each line, bare gnet
// and the best of the other peers.
func (r *Result) Markdown() string {
	var b strings.Builder
	b.WriteString("| | pushd: median (min–max) | bare gnet | pushd ÷ gnet | best peer | pushd ÷ best | reach | |\n|---|---|---|---|---|---|---|---|\n")
	for _, l := range lines {
		v, ok := r.compare(l)
		if !ok {
			continue
		}
		cells := []string{l.title, v.ours.String() + " " + l.unit, "", "", "", "", l.bound(), "missed"}
		if v.hasGnet {
			cells[2], cells[3] = format(v.gnet.median), ratio(v.toGnet)
		}
		if v.hasBest {
			cells[4], cells[5] = fmt.Sprintf("%s (%s)", format(v.best.median), v.bestName), ratio(v.toBest)
		}
		if v.reached {
			cells[7] = "✓"
		}
		row(&b, cells)
	}
	b.WriteString("\n" + r.note())
	return b.String()
}

// note says what the run was: when, on what, who had which cores, and who was not there.
func (r *Result) note() string {
	plural := "s"
	if r.Rounds == 1 {
		plural = ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d round%s, %d CPUs, Linux %s, %d minutes in all", r.Started.Format("2 January 2006"), r.Rounds, plural, r.CPUs, r.Kernel, int(math.Ceil(r.Seconds/60)))
	if r.Scheduling != "" {
		shared := "servers and client on the same cores"
		if len(r.ServerCores) > 0 {
			shared = fmt.Sprintf("pinned: servers on %s, client on %s", cores(r.ServerCores), cores(r.ClientCores))
		}
		fmt.Fprintf(&b, "; %s, %s", shared, r.Scheduling)
	}
	b.WriteString(".\n")
	for _, a := range r.Absent {
		fmt.Fprintf(&b, "\n%s was not there: `%s`.\n", a.Server, a.Get)
	}
	for _, fault := range r.Others() {
		fmt.Fprintf(&b, "\nNot as it should be: %s\n", strings.Join(strings.Fields(fault), " "))
	}
	return b.String()
}

// cores names them: core 1, cores 0 and 1, cores 0, 1 and 2.
func cores(list []int) string {
	var b strings.Builder
	for i, core := range list {
		switch {
		case i == 0:
		case i == len(list)-1:
			b.WriteString(" and ")
		default:
			b.WriteString(", ")
		}
		fmt.Fprint(&b, core)
	}
	if len(list) == 1 {
		return "core " + b.String()
	}
	return "cores " + b.String()
}

// All is the table of every server and number.
func (r *Result) All() string {
	var b strings.Builder
	head, rule := []string{""}, []string{"---"}
	for _, s := range servers {
		if r.has(s.name) {
			head, rule = append(head, s.title), append(rule, "---")
		}
	}
	row(&b, head)
	row(&b, rule)
	for _, l := range lines {
		cells := []string{l.title + ", " + l.unit}
		for _, s := range servers {
			if !r.has(s.name) {
				continue
			}
			cell := ""
			if v, ok := r.spread(s.name, l.measure, l.metric); ok {
				cell = v.String()
			}
			cells = append(cells, cell)
		}
		row(&b, cells)
	}
	return b.String()
}

func (r *Result) has(server string) bool {
	return slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Server == server })
}

func row(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func ratio(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// format writes three digits or more, thousands with a comma.
func format(v float64) string {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1000, math.Abs(v) < 10 && v*10 == math.Trunc(v*10):
		return strconv.FormatFloat(v, 'f', -1, 64)
	case math.Abs(v) < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case math.Abs(v) < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Memory is the median userland bytes of an idle connection, by server.
func (r *Result) Memory() map[string]float64 {
	memory := map[string]float64{}
	for _, s := range servers {
		if v, ok := r.spread(s.name, "idle", "server_bytes_per_connection"); ok {
			memory[s.title] = v.median
		}
	}
	return memory
}
