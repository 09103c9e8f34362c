package master

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// A worker counts from its own start. Here it becomes a count of its place, for
// as long as the master lives: what a process had counted when it ended is added
// to what the processes of its slot count after it.

// place names a slot across generations, also one that is gone.
type place struct {
	Group string `json:"group"`
	Index int    `json:"index"`
}

// ended is what the processes of a place had counted when they ended.
type ended struct {
	place
	control.Counters
}

// lastWord is greater than the ID of any question: nothing follows a report.
const lastWord = math.MaxUint64

// heard keeps the numbers of an answer to "stats", or of a report, unless newer
// ones are there already: answers may overtake each other.
func (p *process) heard(id uint64, stats json.RawMessage) {
	if object := (map[string]json.RawMessage{}); json.Unmarshal(stats, &object) != nil || object == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if id >= p.statsID {
		p.stats, p.statsID = stats, id
	}
}

// numbers returns the newest that p has given, nil = none.
func (p *process) numbers() json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// countEvery bounds what the end of a process that is killed takes with it.
const countEvery = time.Second

// count asks all workers for their numbers. It runs on the loop.
func (m *master) count() {
	for p := range m.live {
		if p.unit.role == control.RoleWorker && p.isReady.Load() {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), min(m.t.query, countEvery))
				defer cancel()
				p.askStats(ctx)
			}()
		}
	}
}

// keep remembers what p has counted, which is gone. It runs on the loop.
func (m *master) keep(p *process) {
	var c control.Counters
	if p.unit.role != control.RoleWorker || json.Unmarshal(p.numbers(), &c) != nil {
		return
	}
	at := place{p.unit.name, p.slot.index}
	m.ended[at] = m.ended[at].Plus(c)
}

// endedIn returns what is to be added to each of the lines, and the rest: of
// groups that are no more. What was counted in a slot that is gone goes to the
// first of its group. It runs on the loop.
func (m *master) endedIn(lines []line) (sums []control.Counters, rest control.Counters) {
	sums = make([]control.Counters, len(lines))
	at := map[place]int{}
	for i, l := range lines { // of two processes in a slot the new one comes last
		at[place{l.Name, l.Slot}] = i
	}
	for where, c := range m.ended {
		i, ok := at[where]
		if !ok {
			i, ok = at[place{where.Group, 0}]
		}
		if ok {
			sums[i] = sums[i].Plus(c)
		} else {
			rest = rest.Plus(c)
		}
	}
	return sums, rest
}

// plus adds c to the counters of stats.
func plus(stats json.RawMessage, c control.Counters) json.RawMessage {
	all := map[string]json.RawMessage{}
	var own control.Counters
	if json.Unmarshal(stats, &all) != nil || json.Unmarshal(stats, &own) != nil {
		return stats // of a version that counts otherwise
	}
	sum := map[string]json.RawMessage{}
	raw, err := json.Marshal(own.Plus(c))
	if err != nil || json.Unmarshal(raw, &sum) != nil {
		return stats // plain values: cannot happen
	}
	maps.Copy(all, sum)
	if raw, err = json.Marshal(all); err != nil {
		return stats
	}
	return raw
}
