package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
)

// handle carries out one request; false ends the conversation.
func (s *server) handle(c *net.UnixConn, req request) bool {
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
		return s.reload(c)
	default:
		err = fmt.Errorf("unknown operation %q: use status, connections, reload or stop", req.Op)
	}
	if err != nil {
		return say(c, answer{Done: true, Error: err.Error()})
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return say(c, answer{Done: true, Error: "encode answer: " + err.Error()})
	}
	return say(c, answer{Done: true, Data: raw})
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

// reload waits for a reload to end and tells its progress meanwhile.
func (s *server) reload(c *net.UnixConn) bool {
	steps := make(chan Progress, progressQueue)
	end := make(chan answer, 1)
	w := &waiter{
		progress: func(p Progress) {
			select {
			case steps <- p:
			default: // the client is slow; the report is what counts
			}
		},
		result: func(r *ReloadReport, err error) {
			end <- reloadAnswer(r, err)
		},
	}
	refused := false
	if !s.m.do(func() {
		if refused = s.m.stopping != nil; !refused {
			s.m.requestReload(w)
		}
	}) || refused {
		return say(c, answer{Done: true, Error: "the master is stopping"})
	}
	for {
		select {
		case p := <-steps:
			if !say(c, answer{Progress: &p}) {
				return false
			}
		case a := <-end:
			for len(steps) > 0 {
				p := <-steps
				say(c, answer{Progress: &p})
			}
			return say(c, a)
		}
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
