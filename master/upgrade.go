package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// The last step of a reload with a new program: the master executes it in its
// own place. It keeps its pid, children, sockets and clients; what it knows
// travels in a takeover, which the new program has checked before anything of
// the reload was touched.

// Steps of a reload at which the master's own replacement fails, and the name
// that stands for it in the place of a worker group.
const (
	masterName = "master"
	stepCheck  = "check"
	stepExec   = "exec"
)

// rehearse runs p to see whether it can take over from this master, and
// remembers its version.
func (r *reload) rehearse(ctx context.Context, p *program) error {
	m := r.m
	var data []byte
	var err error
	m.do(func() { data, err = json.Marshal(m.pack(&r.report).t) })
	if err != nil {
		return &ReloadError{Worker: masterName, Step: stepCheck, Err: err}
	}
	v, err := m.askVerdict(ctx, p, data)
	if err == nil && v.Version < takeoverVersion {
		err = fmt.Errorf("it takes over records up to version %d, this master leaves %d", v.Version, takeoverVersion)
	}
	if err != nil {
		err = fmt.Errorf("the new program cannot take over from the running master (use restart): %w", err)
		return &ReloadError{Worker: masterName, Step: stepCheck, Err: err}
	}
	r.report.Master = &MasterReport{OldVersion: m.o.Version, NewVersion: v.Program}
	return nil
}

func (m *master) askVerdict(ctx context.Context, p *program, record []byte) (v verdict, err error) {
	file, err := newMemory("pushd-takeover", record)
	if err != nil {
		return v, err
	}
	defer file.Close()
	data, err := p.consult(ctx, m.kin, inquiry{
		args: []string{"adopt"}, env: TakeoverEnv + "=" + takeoverCheck, in: file, timeout: m.t.plan,
	})
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	return v, err
}

// upgrade makes p the master's program. It returns only if that failed; then
// everything goes on as before.
func (r *reload) upgrade(p *program, waiters []*waiter) error {
	r.progress(&unit{name: masterName}, &slot{}, stepExec)
	u := &upgrade{m: r.m, program: p, waiters: waiters, report: &r.report}
	late := time.NewTimer(standBound)
	defer late.Stop()
	for {
		err := u.try(late.C)
		if !errors.Is(err, errRestless) || r.m.verbs.Err() != nil {
			return &ReloadError{Worker: masterName, Step: stepExec,
				Err: fmt.Errorf("all other processes are renewed, the master goes on with its old code: %w", err)}
		}
		select {
		case <-late.C:
			return &ReloadError{Worker: masterName, Step: stepExec, Err: err}
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// upgrade is one run of the step, on Run's goroutine.
type upgrade struct {
	m       *master
	program *program
	waiters []*waiter // of the reload
	report  *ReloadReport
}

// try brings everyone to a stand and executes the program.
func (u *upgrade) try(late <-chan time.Time) error {
	m := u.m
	begin := time.Now()
	if err := m.settleRoster(m.t.query); err != nil {
		return err
	}
	var procs []*process
	var broker *process
	m.do(func() {
		m.frozen = true
		for p := range m.live {
			procs = append(procs, p)
		}
		if m.broker != nil {
			broker = m.broker.proc
		}
	})
	defer m.do(m.thaw)
	defer m.srv.proceed()
	if err := m.srv.standStill(late); err != nil {
		return err
	}
	defer func() {
		for _, p := range procs {
			p.proceed()
		}
	}()
	if err := m.quiet(procs, broker, late); err != nil {
		return err
	}
	err := errInterrupted
	m.do(func() { err = u.execute(begin) })
	return err
}

// quiet makes all processes' goroutines stand. The broker process goes first:
// it is the only one that asks, and its questions are answered by the others.
func (m *master) quiet(procs []*process, broker *process, late <-chan time.Time) error {
	if broker != nil {
		if err := broker.halt(late); err != nil {
			return err
		}
	}
	for range cap(m.upward) { // a token each: nothing of it is being answered
		select {
		case m.upward <- struct{}{}:
			defer func() { <-m.upward }()
		case <-late:
			return errors.New("the broker process's questions are not answered")
		}
	}
	for _, p := range procs {
		if p == broker {
			continue
		}
		if err := p.halt(late); err != nil {
			return err
		}
	}
	for _, p := range procs {
		if err := p.flush(late); err != nil {
			return err
		}
	}
	return nil
}

// execute runs on the loop, so that nothing else does.
func (u *upgrade) execute(begin time.Time) error {
	m := u.m
	m.catchUp()
	for p := range m.live {
		if !p.stands() || p.unheard() {
			return errRestless
		}
	}
	if !m.srv.allStand() {
		return errRestless
	}
	defer m.deafen()()
	for len(m.signals) > 0 {
		m.onSignal(<-m.signals)
	}
	if m.stopping != nil {
		return errInterrupted
	}
	u.report.OK = true
	k := m.pack(u.report)
	k.talks(u.waiters)
	k.t.Begin = carried(begin, k.now)
	data, err := k.encode()
	if err != nil {
		return err
	}
	record, err := newMemory("pushd-takeover", data)
	if err != nil {
		return err
	}
	defer record.Close()
	fd := k.luggage.addFile(record)
	m.log.Info("master executes its new version", "old", m.o.Version, "new", u.report.Master.NewVersion)
	m.out.lines.Flush(flushWait)
	return u.program.exec(append(os.Environ(), TakeoverEnv+"="+strconv.Itoa(fd)), k.luggage.fds)
}

// catchUp runs what waits for the loop. It runs on the loop.
func (m *master) catchUp() {
	for {
		select {
		case f := <-m.events:
			f()
		default:
			return
		}
	}
}

// exec replaces the calling process by p, with its arguments, and the
// descriptors fds left open. It returns only if that failed.
func (p *program) exec(env []string, fds []int) error {
	syscall.ForkLock.Lock() // no child gets them
	defer syscall.ForkLock.Unlock()
	defer func() {
		for _, fd := range fds {
			_ = setInherited(fd, false)
		}
	}()
	for _, fd := range fds {
		if err := setInherited(fd, true); err != nil {
			return fmt.Errorf("keep descriptor %d: %w", fd, err)
		}
	}
	err := syscall.Exec(procFD(int(p.file.Fd())), os.Args, env)
	return fmt.Errorf("execute %s: %w", p.path, err)
}

// takeoverCheck as the value of TakeoverEnv: read the record at descriptor 4,
// write the verdict to descriptor 3, take over nothing.
const takeoverCheck = "check"

// checkRecord says whether this program can act on a record.
func checkRecord(data []byte) error {
	t, err := parseTakeover(data)
	if err != nil {
		return err
	}
	return CheckFolder(t.Options.RuntimeDir)
}

func checkTakeover(version string) error {
	in, out := os.NewFile(4, "record"), os.NewFile(3, "verdict")
	if in == nil || out == nil {
		return fmt.Errorf("%s=%s is for the master only", TakeoverEnv, takeoverCheck)
	}
	data, err := io.ReadAll(in)
	if err == nil {
		err = checkRecord(data)
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(verdict{Version: takeoverVersion, Program: version}); err != nil {
		return err
	}
	return out.Close()
}
