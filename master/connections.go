package master

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pushd/pushd/protocol/control"
)

// pageMax is how many connections one control message holds at most.
const pageMax = 100

// here begins the cursors of lists of this node alone where there are others.
const here = "~"

// connections returns a page of the connections of all workers: of all nodes, by way
// of the broker process, in the order of the ids of the connections; where there is
// one node, one worker after the other in the order of their ids.
func (m *master) connections(q ConnQuery) (*ConnPage, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Limit < 1 || q.Limit > 1000 {
		return nil, fmt.Errorf("limit %d: use 1 to 1000", q.Limit)
	}
	cursor, alone := strings.CutPrefix(q.Cursor, here)
	broker, several := m.lister()
	switch {
	case broker != nil || q.Node == "":
	case several:
		return nil, errors.New("other nodes cannot be asked now: the broker process is away; ask again, `status` has its state")
	default:
		return nil, errors.New("this pushd is alone: there is no node to choose")
	}
	if broker != nil && !alone {
		page, err := m.listAll(broker, q)
		if err == nil || q.Cursor != "" || q.Node != "" {
			return page, err
		}
		m.log.Warn("connections of other nodes not listed", "error", err)
	}
	page, err := m.listHere(q, cursor)
	if err == nil && several {
		if page.Complete = false; page.Cursor != "" {
			page.Cursor = here + page.Cursor
		}
	}
	return page, err
}

// lister says whether there may be several nodes, and returns the broker process, which
// lists the connections of all, if there is one now.
func (m *master) lister() (p *process, several bool) {
	m.do(func() {
		if several = m.several(); several {
			p = m.broker.proc
		}
	})
	return p, several
}

// several reports whether the plan's broker process knows other nodes. It runs on the loop.
func (m *master) several() bool {
	return m.broker != nil && slices.Contains(m.broker.unit.answers, control.QueryConnections)
}

// listAll asks the broker process for what fits into messages, until the page is full.
func (m *master) listAll(broker *process, q ConnQuery) (*ConnPage, error) {
	page := &ConnPage{Connections: []json.RawMessage{}, Complete: true}
	for limit := q.Limit; ; {
		q.Limit = min(limit-len(page.Connections), pageMax)
		ctx, cancel := m.within(m.t.query)
		more, err := broker.askPage(ctx, q)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("ask the broker process for connections: %w", err)
		}
		page.Connections = append(page.Connections, more.Connections...)
		page.Complete = page.Complete && more.Complete
		if page.Cursor = more.Cursor; page.Cursor == "" || len(page.Connections) >= limit {
			return page, nil
		}
		q.Cursor = more.Cursor
	}
}

// listHere is connections of this node.
func (m *master) listHere(q ConnQuery, cursor string) (*ConnPage, error) {
	at, err := parsePosition(cursor)
	if err != nil {
		return nil, err
	}
	if err := m.checkGroup(q.Worker); err != nil {
		return nil, err
	}
	page := &ConnPage{Connections: []json.RawMessage{}, Complete: true}
	for _, p := range m.serving(q.Worker) {
		if p.id() < at.worker {
			continue // told already, or gone
		}
		if p.id() > at.worker {
			at = position{worker: p.id()}
		}
		if len(page.Connections) >= q.Limit {
			page.Cursor = at.String()
			return page, nil
		}
		if at, err = m.collect(p, q, at, page); err != nil {
			page.Complete = false
			m.log.Warn("connections of a worker not listed", "error", err)
		}
		if at.cursor != "" {
			page.Cursor = at.String()
			return page, nil
		}
	}
	return page, nil
}

// checkGroup refuses the name of a worker group that there is not; "" = all.
func (m *master) checkGroup(name string) error {
	var groups []string
	known := name == ""
	m.do(func() {
		for _, s := range m.slots {
			known = known || s.unit.name == name
			if !slices.Contains(groups, s.unit.name) {
				groups = append(groups, s.unit.name)
			}
		}
		for p := range m.live {
			known = known || p.unit.name == name
		}
	})
	if known {
		return nil
	}
	return fmt.Errorf("no worker group %q: there are %s", name, strings.Join(groups, ", "))
}

// serving returns the workers that can answer, ordered by id.
func (m *master) serving(group string) []*process {
	var list []*process
	m.do(func() {
		for p := range m.live {
			if p.unit.role == control.RoleWorker && p.isReady.Load() && (group == "" || p.unit.name == group) {
				list = append(list, p)
			}
		}
	})
	sort.Slice(list, func(i, j int) bool { return list[i].id() < list[j].id() })
	return list
}

// collect adds connections of p to page until it is full or p has no more. It
// returns where to go on; without a cursor p is done.
func (m *master) collect(p *process, q ConnQuery, at position, page *ConnPage) (position, error) {
	ctx, cancel := m.within(m.t.query)
	defer cancel()
	for {
		more, err := p.askPage(ctx, ConnQuery{UID: q.UID, Channel: q.Channel, IP: q.IP, Limit: min(q.Limit-len(page.Connections), pageMax), Cursor: at.cursor})
		if err != nil {
			return position{worker: at.worker}, err
		}
		page.Connections = append(page.Connections, more.Connections...)
		at.cursor = more.Cursor
		if at.cursor == "" || len(page.Connections) >= q.Limit {
			return at, nil
		}
	}
}

// askPage asks for one message full of connections. The fields are those of
// worker.ConnQuery and worker.ConnPage, or api.ConnQuery and api.ConnPage.
func (p *process) askPage(ctx context.Context, q ConnQuery) (*ConnPage, error) {
	args, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	raw, err := p.ask(ctx, control.TypeQuery, control.Query{What: control.QueryConnections, Args: args})
	if err != nil {
		return nil, err
	}
	page := new(ConnPage)
	if err := json.Unmarshal(raw, page); err != nil {
		return nil, fmt.Errorf("%s: read its connections: %w", p, err)
	}
	return page, nil
}

// position says where a page ended. Workers that have gone since are skipped,
// so that it stays good through a reload.
type position struct {
	worker string // id; those before it are done
	cursor string // of that worker, "" = from its start
}

// String makes the cursor that clients send back.
func (at position) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.worker + "\x00" + at.cursor))
}

func parsePosition(cursor string) (position, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return position{}, fmt.Errorf("cursor %q: use the one of the page before", cursor)
	}
	worker, inner, ok := strings.Cut(string(raw), "\x00")
	if !ok && cursor != "" {
		return position{}, fmt.Errorf("cursor %q: use the one of the page before", cursor)
	}
	return position{worker, inner}, nil
}
