package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/load"
)

// Fleet is the agents of one run, seen from the coordinator. Its methods are
// called from one goroutine, but for Counters, which any may call.
type Fleet struct {
	// OnSeen is told when every member of every agent has message seq of the
	// watched stream. Set it before Begin; it is called from the agents' readers.
	OnSeen func(seq uint32)

	members []*member
	steps   chan step

	mu       sync.Mutex
	counters []load.Counters
	seen     map[uint32]int
	watchers int // agents that watch
}

// member is one agent process.
type member struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	tell  *json.Encoder
}

// step is an answer that the coordinator waits for.
type step struct {
	kind   string
	report *load.Report
	err    error
}

// Launch starts an agent per job. They begin to open connections at once.
func Launch(jobs []Job) (*Fleet, error) {
	f := &Fleet{steps: make(chan step, 4*len(jobs)+4), counters: make([]load.Counters, len(jobs)), seen: map[uint32]int{}}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	for i, job := range jobs {
		for _, l := range job.Loads {
			if l.Watch != 0 {
				f.watchers++
				break
			}
		}
		if err := f.launch(i, program, job); err != nil {
			f.Close()
			return nil, fmt.Errorf("start agent %d: %w", i, err)
		}
	}
	return f, nil
}

func (f *Fleet) launch(i int, program string, job Job) error {
	m := &member{cmd: exec.Command(program, AgentCommand)}
	m.cmd.Stderr = os.Stderr
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	f.members = append(f.members, m)
	m.tell = json.NewEncoder(m.stdin)
	go f.read(i, json.NewDecoder(stdout))
	return m.tell.Encode(job)
}

// read takes one agent's events until its output ends.
func (f *Fleet) read(i int, out *json.Decoder) {
	for {
		var e event
		if err := out.Decode(&e); err != nil {
			f.steps <- step{err: fmt.Errorf("agent %d ended: %w", i, err)}
			return
		}
		switch e.Kind {
		case eventProgress:
			f.mu.Lock()
			f.counters[i] = *e.Counters
			f.mu.Unlock()
		case eventSeen:
			f.saw(e.Seq)
		case eventError:
			f.steps <- step{err: fmt.Errorf("agent %d: %s", i, e.Error)}
			return
		default:
			f.steps <- step{kind: e.Kind, report: e.Report}
		}
	}
}

func (f *Fleet) saw(seq uint32) {
	f.mu.Lock()
	f.seen[seq]++
	all := f.seen[seq] == f.watchers
	if all {
		delete(f.seen, seq)
	}
	f.mu.Unlock()
	if all && f.OnSeen != nil {
		f.OnSeen(seq)
	}
}

// Counters are the agents' totals as of their latest word, at most about
// 250 ms old.
func (f *Fleet) Counters() (sum load.Counters) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.counters {
		sum.Add(c)
	}
	return sum
}

// Ready waits until every standing connection is open or has failed.
func (f *Fleet) Ready(ctx context.Context) error {
	_, err := f.await(ctx, eventReady)
	return err
}

// Begin starts the traffic.
func (f *Fleet) Begin() error { return f.tellAll(command{Do: doStart}) }

// Mark begins or ends a stretch whose latencies are also kept apart.
func (f *Fleet) Mark(on bool) error { return f.tellAll(command{Do: doMark, On: on}) }

// Stop ends the traffic and waits until every answer is there, or for drain.
func (f *Fleet) Stop(ctx context.Context, drain time.Duration) error {
	if err := f.tellAll(command{Do: doStop, DrainNS: int64(drain)}); err != nil {
		return err
	}
	_, err := f.await(ctx, eventStopped)
	return err
}

// Report asks the agents what they saw and puts it together.
func (f *Fleet) Report(ctx context.Context) (*Report, error) {
	if err := f.tellAll(command{Do: doReport}); err != nil {
		return nil, err
	}
	steps, err := f.await(ctx, eventReport)
	if err != nil {
		return nil, err
	}
	r := &Report{Latency: map[string]*hdrhistogram.Histogram{}}
	for _, s := range steps {
		if err := r.add(s.report); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Close ends the agents and waits for them; connections that still stand end
// without a close frame.
func (f *Fleet) Close() {
	for _, m := range f.members {
		_ = m.stdin.Close()
	}
	for _, m := range f.members {
		timer := time.AfterFunc(5*time.Second, func() { _ = m.cmd.Process.Kill() })
		_ = m.cmd.Wait()
		timer.Stop()
	}
	f.members = nil
}

func (f *Fleet) tellAll(c command) error {
	var errs []error
	for i, m := range f.members {
		if err := m.tell.Encode(c); err != nil {
			errs = append(errs, fmt.Errorf("tell agent %d to %s: %w", i, c.Do, err))
		}
	}
	return errors.Join(errs...)
}

// await waits for one step of this kind from each agent.
func (f *Fleet) await(ctx context.Context, kind string) (steps []step, err error) {
	for len(steps) < len(f.members) {
		select {
		case s := <-f.steps:
			if s.err != nil {
				return nil, s.err
			}
			if s.kind != kind {
				return nil, fmt.Errorf("an agent says %q instead of %q", s.kind, kind)
			}
			steps = append(steps, s)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for agents to be %s: %w", kind, context.Cause(ctx))
		}
	}
	return steps, nil
}

// Report is what all agents together saw.
type Report struct {
	Counters load.Counters
	Latency  map[string]*hdrhistogram.Histogram // nanoseconds
	Sessions []history.Session
	Streams  []history.Stream
	Last     []int64 // when the last member of all had message i+1 of the watched stream; 0: never
	CPU      time.Duration
	Clean    int64 // sessions without a fault that are not in Sessions
	Pending  int64 // answers that never came
	Repeated int64 // members named twice to a member of a presence channel
}

func (r *Report) add(o *load.Report) error {
	r.Counters.Add(o.Counters)
	for name, encoded := range o.Latency {
		h, err := hdrhistogram.Decode(encoded)
		if err != nil {
			return fmt.Errorf("decode latencies of %s: %w", name, err)
		}
		if r.Latency[name] == nil {
			r.Latency[name] = load.NewHistogram()
		}
		r.Latency[name].Merge(h)
	}
	r.Sessions = append(r.Sessions, o.Sessions...)
	r.Streams = append(r.Streams, o.Streams...)
	for i, at := range o.Last {
		if i == len(r.Last) {
			r.Last = append(r.Last, 0)
		}
		r.Last[i] = max(r.Last[i], at)
	}
	r.CPU += time.Duration(o.CPU)
	r.Clean += o.Clean
	r.Pending += o.Pending
	r.Repeated += o.Repeated
	return nil
}
