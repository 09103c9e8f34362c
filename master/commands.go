package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// handle carries out one request; false ends the conversation.
func (s *server) handle(t *talk, req request) bool {
	var data any
	var err error
	switch req.Op {
	case "status":
		data = s.m.status()
	case "connections":
		data, err = s.connections(req.Args)
	case "stop":
		data, err = s.stop(req.Args)
	case "reload":
		return s.reload(t, req.Args)
	case "sockets":
		return s.sockets(t)
	case "reopen":
		data, err = s.reopen()
	default:
		err = fmt.Errorf("unknown operation %q: use status, connections, reload, reopen, sockets or stop", req.Op)
	}
	if err != nil {
		return t.say(answer{Done: true, Error: err.Error()})
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return t.say(answer{Done: true, Error: "encode answer: " + err.Error()})
	}
	return t.say(answer{Done: true, Data: raw})
}

func (s *server) connections(args json.RawMessage) (*ConnPage, error) {
	var q ConnQuery
	if len(args) > 0 {
		if err := unmarshalStrict(args, &q); err != nil {
			return nil, fmt.Errorf("args of connections: %w", err)
		}
	}
	return s.m.connections(q)
}

// stop begins to stop. The client waits for the end of the process that the
// answer names.
func (s *server) stop(args json.RawMessage) (owner, error) {
	var o StopOptions
	if len(args) > 0 {
		if err := unmarshalStrict(args, &o); err != nil {
			return owner{}, fmt.Errorf("args of stop: %w", err)
		}
	}
	if o.Timeout < 0 {
		return owner{}, fmt.Errorf("timeout %s is negative: use 0 for no bound", o.Timeout)
	}
	me, err := readStat(os.Getpid())
	if err != nil {
		return owner{}, err
	}
	s.m.do(func() { s.m.requestStop(o) })
	return owner{PID: os.Getpid(), Start: me.start}, nil
}

// Reopened is the answer to `reopen`.
type Reopened struct {
	LogFile string `json:"log_file"` // "" = the log goes to stderr, there is nothing to open
}

func (s *server) reopen() (Reopened, error) {
	err := s.m.reopen()
	return Reopened{LogFile: s.m.out.name()}, err
}

// ReloadOptions say what a reload replaces beyond what has changed.
type ReloadOptions struct {
	All bool `json:"all"` // the workers beside whose programs nothing has changed, too
}

// reload waits for a reload to end and tells its progress meanwhile.
func (s *server) reload(t *talk, args json.RawMessage) bool {
	var o ReloadOptions
	if len(args) > 0 {
		if err := json.Unmarshal(args, &o); err != nil {
			return t.say(answer{Done: true, Error: err.Error()})
		}
	}
	t.reload = newWaiter()
	t.reload.all = o.All
	refused := false
	if !s.m.do(func() {
		if refused = s.m.stopping != nil; !refused {
			s.m.requestReload(t.reload)
		}
	}) || refused {
		t.reload = nil
		return t.say(reloadAnswer(nil, interrupted(0)))
	}
	return s.awaitReload(t)
}

// awaitReload tells the client how the reload goes that it waits for.
func (s *server) awaitReload(t *talk) bool {
	w := t.reload
	for {
		select {
		case p := <-w.steps:
			if !t.say(answer{Progress: &p}) {
				return false
			}
		case a := <-w.end:
			w.drain(t)
			t.reload = nil
			return t.say(a)
		case <-t.halt:
			w.drain(t)
			if len(w.end) == 0 {
				s.stand(t)
			}
		}
	}
}

// drain tells what has happened before.
func (w *waiter) drain(t *talk) {
	for len(w.steps) > 0 {
		p := <-w.steps
		t.say(answer{Progress: &p})
	}
}

func reloadAnswer(r *ReloadReport, err error) answer {
	if err == nil {
		raw, merr := json.Marshal(r)
		if merr == nil {
			return answer{Done: true, Data: raw}
		}
		err = merr
	}
	var f *ReloadError
	if !errors.As(err, &f) {
		f = &ReloadError{Step: "reload", Err: err}
	}
	return answer{Done: true, Error: f.Error(), Failure: f}
}
