// Package compare measures pushd and its peers in turn on one machine: every
// round starts each server afresh and puts it through the same measures, so
// that what changes on the machine meanwhile meets all of them alike.
package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/proc"
)

// Options of a comparison.
type Options struct {
	Bench, Pushd, Peers string   // programs
	Others              string   // folder of the servers that are no part of this repository
	Only                []string // names of servers; empty: all
	Rounds              int
	Loops               int           // of each server: event loops, workers, GOMAXPROCS; 0: as many as it has cores
	Pinned              bool          // servers and their client have cores of their own
	Each                int           // connections of one worker of pushd, at most; 0: its default
	Duration            time.Duration // of a measure that runs by time
	Idle                int           // connections of the idle measures
	Fan                 int           // receivers of the fan-out
	Hold                time.Duration // how long idle CPU is watched, once
	Calm                time.Duration // how long, at most, a server gets to become calm; twice that for its memory
	Timed               int           // messages, ten a second, whose latency is measured
	Log                 io.Writer     // a line per measure
}

// Result is a comparison, as it is stored.
type Result struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Kernel  string    `json:"kernel"`
	CPUs    int       `json:"cpus"`
	Loops   int       `json:"loops"`
	Rounds  int       `json:"rounds"`
	Idle    int       `json:"idle_connections"`
	Fan     int       `json:"fanout_receivers"`
	// How processes shared the machine, and the cores of a pinned run.
	Scheduling  string   `json:"scheduling,omitempty"`
	ServerCores []int    `json:"server_cores,omitempty"`
	ClientCores []int    `json:"client_cores,omitempty"`
	Absent      []Absent `json:"absent,omitempty"`
	Runs        []Run    `json:"runs"`
}

// Absent is a server that would have taken part.
type Absent struct {
	Server string `json:"server"`
	Get    string `json:"get"` // the command that gets it
}

// Run is one measure of one server; without a measure, one that ended its round.
type Run struct {
	Server  string             `json:"server"`
	Measure string             `json:"measure"`
	Round   int                `json:"round"`
	OK      bool               `json:"ok"`
	Numbers map[string]float64 `json:"numbers"`
	Errors  []string           `json:"problems,omitempty"`
}

// Measure compares. It returns what it has when ctx ends, and when pushd fails; of
// another server that fails the result says so.
func Measure(ctx context.Context, o Options) (*Result, error) {
	servers, absent, err := choose(o)
	if err != nil {
		return nil, err
	}
	for _, a := range absent {
		_, _ = fmt.Fprintf(o.Log, "%s is not there: %s\n", a.Server, a.Get)
	}
	c, err := prepare(o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(c.dir) }()
	c.result.Absent = absent
	for round := range o.Rounds {
		for _, s := range servers {
			err := c.take(ctx, s, round)
			if err != nil && (s.name == pushd || ctx.Err() != nil) {
				return c.result, fmt.Errorf("%s: %w", s.name, err)
			}
			if err != nil {
				c.result.Runs = append(c.result.Runs, Run{Server: s.name, Round: round, Errors: []string{err.Error()}})
				_, _ = fmt.Fprintf(c.Log, "round %d %-10s FAILED %v\n", round+1, s.name, err)
			}
		}
	}
	c.result.Seconds = time.Since(c.result.Started).Seconds()
	return c.result, nil
}

type comparison struct {
	Options
	dir                      string
	serverCores, clientCores []int // none: all
	result                   *Result
}

// prepare makes the folder of a comparison, shares out the cores, and notes how.
func prepare(o Options) (c *comparison, err error) {
	c = &comparison{Options: o}
	cores := runtime.NumCPU()
	if o.Pinned {
		if c.serverCores, c.clientCores, err = Apart(); err != nil {
			return nil, err
		}
		cores = len(c.serverCores)
	}
	if c.Loops == 0 {
		c.Loops = cores
	}
	scheduling := "all in one scheduler group"
	if Grouped() {
		scheduling = "each server and its client in a scheduler group of its own"
	}
	c.result = &Result{
		Started: time.Now().UTC(), Kernel: kernel(), CPUs: runtime.NumCPU(), Loops: c.Loops, Rounds: o.Rounds, Idle: o.Idle, Fan: o.Fan,
		Scheduling: scheduling, ServerCores: c.serverCores, ClientCores: c.clientCores,
	}
	c.dir, err = os.MkdirTemp("", "pushbench")
	return c, err
}

// take starts a server and takes its measures. Those that need a server
// that has done nothing yet get one of their own.
func (c *comparison) take(ctx context.Context, s server, round int) error {
	var running *process
	defer func() { running.stop() }()
	for _, m := range measures {
		if !m.of(s, round) {
			continue
		}
		if running == nil || m.fresh {
			running.stop()
			var err error
			if running, err = start(ctx, c, s, m.keys); err != nil {
				return err
			}
		}
		if err := quiet(ctx, running.PID(), c.Calm); err != nil {
			return err
		}
		run, err := c.measure(ctx, m, running)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		run.Server, run.Measure, run.Round = s.name, m.name, round
		c.result.Runs = append(c.result.Runs, run)
		_, _ = fmt.Fprintf(c.Log, "round %d %-10s %-12s %s\n", round+1, s.name, m.name, run.summary(m))
	}
	return nil
}

// measure runs pushbench, which is a process of its own each time.
func (c *comparison) measure(ctx context.Context, m measure, p *process) (run Run, err error) {
	file := filepath.Join(c.dir, "result.json")
	_ = os.Remove(file)
	args := append(m.args(c.Options, p), "--pid", fmt.Sprint(p.PID()), "-o", file)
	said, failed := c.bench(ctx, args)
	text, err := os.ReadFile(file)
	if err != nil { // it did not come to a result
		return run, fmt.Errorf("pushbench %v: %w: %s", args, failed, said)
	}
	report := struct {
		OK       bool               `json:"ok"`
		Numbers  map[string]float64 `json:"numbers"`
		Problems []string           `json:"problems"`
		Faults   []json.RawMessage  `json:"violations"`
	}{}
	if err := json.Unmarshal(text, &report); err != nil {
		return run, err
	}
	run = Run{OK: report.OK, Numbers: report.Numbers, Errors: report.Problems}
	if n := len(report.Faults); n > 0 {
		run.Errors = append(run.Errors, fmt.Sprintf("%d faults, the first %s", n, report.Faults[0]))
	}
	return run, nil
}

// bench runs pushbench as servers run: in a session of its own, on its cores.
func (c *comparison) bench(ctx context.Context, args []string) (said *tail, err error) {
	said = &tail{}
	cmd := exec.CommandContext(ctx, c.Bench, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = stopTime
	if err := startOn(cmd, c.clientCores); err != nil {
		return said, err
	}
	return said, cmd.Wait()
}

// summary is what a measure's log line says.
func (r Run) summary(m measure) (line string) {
	for _, l := range lines {
		if l.measure == m.name {
			line += fmt.Sprintf("%s %s  ", format(r.Numbers[l.metric]), l.unit)
		}
	}
	if !r.OK {
		line += fmt.Sprintf("FAULTY %v", r.Errors)
	}
	return line
}

// calmLook is how long a server is watched to tell whether it is calm.
const calmLook = 500 * time.Millisecond

// quiet waits, for at most so long, until a server has done with what the last
// measure left it: it works less than 20 ms in a calmLook.
func quiet(ctx context.Context, pid int, longest time.Duration) error {
	last, err := proc.Tree(pid)
	for range longest / calmLook {
		if err != nil {
			return err
		}
		select {
		case <-time.After(calmLook):
		case <-ctx.Done():
			return ctx.Err()
		}
		var now proc.Sample
		if now, err = proc.Tree(pid); now.CPU-last.CPU < 20*time.Millisecond {
			break
		}
		last = now
	}
	return err
}
