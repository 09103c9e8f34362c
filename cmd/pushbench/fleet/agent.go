package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/load"
)

// agent is one process of load. All but its reader runs on the loop.
type agent struct {
	env   *load.Env
	loads []load.Load
	out   *json.Encoder
	idled time.Duration // CPU spent before the traffic began
}

// RunAgent reads a job and commands from in and writes events to out, until in
// ends: an agent never outlives its coordinator.
func RunAgent(in io.Reader, out io.Writer) error {
	a := &agent{out: json.NewEncoder(out)}
	err := a.run(json.NewDecoder(in))
	if err != nil {
		a.emit(event{Kind: eventError, Error: err.Error()})
	}
	return err
}

func (a *agent) run(in *json.Decoder) error {
	var job Job
	if err := in.Decode(&job); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	loop, err := client.NewLoop()
	if err != nil {
		return err
	}
	a.env = &load.Env{Loop: loop, Run: job.Run, Agent: job.Agent, Seen: func(seq uint32) {
		a.emit(event{Kind: eventSeen, Seq: seq})
	}}
	for _, spec := range job.Loads {
		l, err := load.New(a.env, spec, job.Sources)
		if err != nil {
			return err
		}
		a.loads = append(a.loads, l)
	}
	go a.read(in)
	loop.Post(func() {
		a.each(load.Load.Open, eventReady)
		a.progress()
	})
	runtime.LockOSThread()
	return loop.Run()
}

// read passes commands to the loop.
func (a *agent) read(in *json.Decoder) {
	for {
		var c command
		if err := in.Decode(&c); err != nil {
			if !errors.Is(err, io.EOF) {
				a.env.Loop.Post(func() { a.emit(event{Kind: eventError, Error: "read command: " + err.Error()}) })
			}
			a.env.Loop.Stop()
			return
		}
		a.env.Loop.Post(func() { a.obey(c) })
	}
}

func (a *agent) obey(c command) {
	switch c.Do {
	case doStart:
		a.idled = cpu()
		for _, l := range a.loads {
			l.Start()
		}
	case doMark:
		a.env.Mark(c.On)
	case doStop:
		a.each(func(l load.Load, done func()) { l.Stop(time.Duration(c.DrainNS), done) }, eventStopped)
	case doReport:
		a.report()
	}
}

// each lets every load do something and tells when the last of them is done.
func (a *agent) each(do func(l load.Load, done func()), kind string) {
	left := len(a.loads) + 1
	done := func() {
		if left--; left == 0 {
			a.counters()
			a.emit(event{Kind: kind})
		}
	}
	for _, l := range a.loads {
		do(l, done)
	}
	done()
}

func (a *agent) counters() {
	c := a.env.Counters()
	a.emit(event{Kind: eventProgress, Counters: &c})
}

func (a *agent) progress() {
	a.counters()
	a.env.Loop.After(250*time.Millisecond, a.progress)
}

func (a *agent) report() {
	var r load.Report
	if err := a.env.Report(&r); err != nil {
		a.emit(event{Kind: eventError, Error: err.Error()})
		return
	}
	for _, l := range a.loads {
		l.Report(&r)
	}
	r.CPU = int64(cpu() - a.idled)
	a.emit(event{Kind: eventReport, Report: &r})
}

// cpu is what this process has worked so far.
func cpu() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// emit writes an event. If the coordinator is gone, so will be the input.
func (a *agent) emit(e event) { _ = a.out.Encode(e) }
