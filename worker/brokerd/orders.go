package brokerd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/api"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/nodes"
)

// obey works on the master's messages, one after the other; only answers are heard
// while this process takes part in its own replacement, since requests in flight wait
// for them, and it for those. It closes over when told to stop, gone when the master
// has died.
func (b *serving) obey(over, gone chan<- struct{}) {
	var step sync.WaitGroup
	for {
		m, files, err := b.Control.Receive()
		if err != nil || m.Type != control.TypeAnswer {
			step.Wait()
		}
		if errors.Is(err, control.ErrCut) { // what was to be done is not done, and can be asked again
			b.Log.Error("an order of the master is refused", "error", err)
			b.send(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: err.Error()})
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				b.Log.Error("control channel", "error", err)
			}
			close(gone)
			return
		}
		if m.Type == control.TypeReopen && len(files) == 1 && b.Reopen != nil {
			if err := b.Reopen(files[0]); err != nil {
				b.Log.Error("reopen log", "error", err)
			}
		}
		if m.Type == control.TypeBus {
			step.Go(func() {
				b.busStep(m, files)
				closeAll(files)
			})
			continue
		}
		if m.Type == control.TypeCopy {
			b.takeCopy(m, files)
		}
		closeAll(files)
		if m.Type == control.TypeStop {
			close(over)
			return
		}
		b.handle(m)
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func (b *serving) handle(m control.Message) {
	switch m.Type {
	case control.TypePing:
		b.send(control.Message{Type: control.TypePong, ID: m.ID})
	case control.TypeAnswer:
		b.master.answered(m)
	case control.TypeQuery:
		go b.query(m)
	case control.TypeRoster:
		var r control.Roster
		answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
		if err := json.Unmarshal(m.Body, &r); err != nil {
			answer.Error = err.Error()
		} else {
			b.workers.Store(int64(len(r.Workers)))
			b.groups.Store(r.Groups)
			b.draining.Store(r.Draining)
			b.host.SetRoster(r.Workers)
			if r.Parting {
				b.host.Part()
			}
			b.meeting.Do(func() { go b.meet() })
			b.tidy.Reset(tidyAfter)
		}
		b.send(answer)
	}
}

// nodesBound is how long the workers have to say how many connections they have.
const nodesBound = 250 * time.Millisecond

// nodesListed is how many nodes have room in one message to the master.
const nodesListed = 200

// query answers the master.
func (b *serving) query(m control.Message) {
	var q control.Query
	a := control.Message{Type: control.TypeAnswer, ID: m.ID}
	var body any
	var err error
	switch _ = json.Unmarshal(m.Body, &q); q.What {
	case control.QueryConnections:
		body, err = b.page(q.Args)
	case control.QueryNodes:
		body = b.nodes()
	case control.QueryServices:
		body = b.states()
	default:
		a.Error = "the broker process answers only " + strings.Join(control.Answers, " and ")
		b.send(a)
		return
	}
	if err == nil {
		a.Body, err = control.Marshal(body)
	}
	if err != nil {
		a.Error = err.Error()
	}
	b.send(a)
}

// pageRoom is how long a page may be in bytes: it goes into one control message.
const pageRoom = control.MaxMessage - 4<<10

// page lists connections of all nodes, fewer than were asked for if they are long.
func (b *serving) page(args json.RawMessage) (page json.RawMessage, err error) {
	var q api.ConnQuery
	if err := json.Unmarshal(args, &q); err != nil {
		return nil, err
	}
	if b.api == nil {
		return nil, errors.New("on standby")
	}
	for ; ; q.Limit /= 2 {
		p, err := b.api.Connections(context.Background(), q)
		if err != nil {
			return nil, err
		}
		if page, err = control.Marshal(p); err != nil || len(page) <= pageRoom || q.Limit <= 1 {
			return page, err
		}
	}
}

// states are the services that have something to say.
func (b *serving) states() []control.ServiceState {
	if b.api == nil { // on standby
		return nil
	}
	all := b.host.States(statesBound)
	if err := b.client.Refused(); err != nil {
		all = append(all, control.ServiceState{Service: "bus", Says: err.Error()})
	}
	return all
}

// statesBound is how long a service may take to say something.
const statesBound = 250 * time.Millisecond

// nodes lists the nodes of the cluster; alone there are none.
func (b *serving) nodes() []control.Node {
	list := []control.Node{}
	if b.Node == "" || b.api == nil { // alone, or on standby
		return list
	}
	connections := b.connections()
	all := b.host.Nodes()
	var self nodes.Node
	for _, n := range all {
		if n.Self {
			self = n
		}
	}
	for _, n := range all[:min(len(all), nodesListed)] {
		list = append(list, control.Node{
			Node: n.Name, Self: n.Self, State: string(n.State), Version: n.Version, Workers: len(n.Workers), Connections: connections[n.Name],
			RTTMS: float64(n.RTT.Microseconds()) / 1000, SilentS: int(time.Since(n.Heard).Seconds()), URL: n.At, OtherApps: !n.Agrees(&self),
		})
	}
	return list
}

// connections asks the workers of all nodes.
func (b *serving) connections() map[string]int {
	ctx, cancel := context.WithTimeout(context.Background(), nodesBound)
	defer cancel()
	sums := map[string]int{}
	_, err := b.client.Collect(ctx, worker.BusQuery{What: "stats"}, broker.Who{}, func(a worker.Answer) {
		var n struct{ Connections int }
		if id, ok := control.ParseIdentity(a.Worker); ok && json.Unmarshal(a.Data, &n) == nil {
			sums[id.Node] += n.Connections
		}
	})
	if err != nil {
		b.Log.Debug("ask the workers for their connections", "error", err)
	}
	return sums
}

// takeCopy takes in a new certificate or key.
func (b *serving) takeCopy(m control.Message, files []*os.File) {
	if b.Certs != nil {
		b.send(b.Certs.Obey(m, files))
	}
}

// busStep is this process's part when the broker process is replaced.
func (b *serving) busStep(m control.Message, files []*os.File) {
	var step control.Bus
	err := json.Unmarshal(m.Body, &step)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(step.BoundMS)*time.Millisecond)
	defer cancel()
	switch {
	case err != nil:
	case step.Do == control.BusReceive && len(files) == 1:
		err = b.receive(files[0])
	case step.Do == control.BusOpen && b.api == nil:
		err = b.open()
	case step.Do == control.BusPause:
		b.stopOrdering()
		b.openDoors()
		if len(files) == 1 {
			err = b.export(ctx, files[0])
		}
		err = errors.Join(err, b.api.Close(ctx))
	case step.Do == control.BusDrain:
		b.host.Close()
		err = b.client.Close()
	}
	answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
	if err != nil {
		answer.Error = err.Error()
	}
	b.send(answer)
}

func (b *serving) send(m control.Message) {
	if err := b.Control.SendMessage(m); err != nil {
		b.Log.Debug("answer the master", "error", err)
	}
}

// stats asks the master for the object of `status --json`.
func (b *serving) stats(ctx context.Context) (json.RawMessage, error) {
	return b.master.ask(ctx, control.Query{What: "stats"})
}

// known names the worker groups of this node.
func (b *serving) known() []string {
	groups, _ := b.groups.Load().([]string)
	return groups
}

// ready says why a balancer should send no clients here.
func (b *serving) ready() error {
	switch {
	case b.draining.Load():
		return errors.New("stopping")
	case !b.client.Stats().Connected:
		return errors.New("broker is away")
	case b.client.Refused() != nil:
		return b.client.Refused()
	case b.workers.Load() == 0:
		return errors.New("no worker is ready")
	}
	return nil
}
