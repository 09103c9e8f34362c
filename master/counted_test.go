package master

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"testing"

	"github.com/pushd/pushd/protocol/control"
)

// counting makes a process of a group that has said this of itself.
func counting(group string, index int, role control.Role, stats string) *process {
	p := &process{unit: &unit{name: group, role: role}, slot: &slot{index: index}, log: slog.New(slog.DiscardHandler)}
	if stats != "" {
		p.stats = json.RawMessage(stats)
	}
	return p
}

// TestNewestNumbersCount: answers may overtake each other, nothing follows the last
// word, and what is no object is not heard.
func TestNewestNumbersCount(t *testing.T) {
	p := counting("g", 0, control.RoleWorker, "")
	if p.numbers() != nil {
		t.Error("it has said nothing")
	}
	for _, step := range []struct {
		id         uint64
		said, want string
	}{
		{2, `{"opened":2}`, `{"opened":2}`},
		{1, `{"opened":1}`, `{"opened":2}`},
		{2, `{"opened":3}`, `{"opened":3}`},
		{3, `[]`, `{"opened":3}`},
		{3, `null`, `{"opened":3}`},
		{3, `{"opened":`, `{"opened":3}`},
		{lastWord, `{"opened":9}`, `{"opened":9}`},
		{4, `{"opened":4}`, `{"opened":9}`},
	} {
		if p.heard(step.id, json.RawMessage(step.said)); string(p.numbers()) != step.want {
			t.Errorf("after %d %s: %s, want %s", step.id, step.said, p.numbers(), step.want)
		}
	}
}

// TestEndedProcessesCount: what a place has counted is added up over its processes,
// goes to the newest of them, to the first of the group when the place is gone, and
// to the rest when the group is. Only workers count.
func TestEndedProcessesCount(t *testing.T) {
	m := &master{ended: map[place]control.Counters{}}
	for _, p := range []*process{
		counting("a", 0, control.RoleWorker, `{"opened":1,"closed_by":{"max_rate":1}}`),
		counting("a", 0, control.RoleWorker, `{"opened":2,"closed_by":{"max_rate":1,"per_ip":5}}`),
		counting("a", 1, control.RoleWorker, `{"opened":10}`),
		counting("a", 7, control.RoleWorker, `{"opened":100}`),
		counting("b", 0, control.RoleWorker, `{"opened":1000}`),
		counting("b", 3, control.RoleWorker, `{"opened":10000}`),
		counting("a", 0, control.RoleBroker, `{"opened":100000}`),
		counting("a", 0, control.RoleWorker, ``), // has never answered
		counting("a", 0, control.RoleWorker, `{"opened":"many"}`),
	} {
		m.keep(p)
	}
	of := func(group string, index int) line { return line{WorkerStatus: WorkerStatus{Name: group, Slot: index}} }
	sums, rest := m.endedIn([]line{of("a", 0), of("a", 0), of("a", 1), of("c", 0)})
	var opened []uint64
	for _, c := range sums {
		opened = append(opened, c.Opened)
	}
	if want := []uint64{0, 3 + 100, 10, 0}; !reflect.DeepEqual(opened, want) || rest.Opened != 11000 {
		t.Errorf("%v and %d, want %v and 11000", opened, rest.Opened, want)
	}
	if got := sums[1].ClosedBy; got["max_rate"] != 2 || got["per_ip"] != 5 {
		t.Errorf("by cause: %v", got)
	}
}

// TestPlusKeepsTheRest: only counters change; what a worker of another version
// says otherwise stays as it is.
func TestPlusKeepsTheRest(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(plus(json.RawMessage(`{"opened":1,"connections":5,"new":"x"}`), control.Counters{Opened: 2, MessagesIn: 3}), &got); err != nil {
		t.Fatal(err)
	}
	if got["opened"] != 3.0 || got["messages_in"] != 3.0 || got["connections"] != 5.0 || got["new"] != "x" {
		t.Errorf("%v", got)
	}
	for _, other := range []string{`{"opened":"x"}`, `[]`, ``} {
		if after := plus(json.RawMessage(other), control.Counters{Opened: 2}); string(after) != other {
			t.Errorf("%s became %s", other, after)
		}
	}
}
