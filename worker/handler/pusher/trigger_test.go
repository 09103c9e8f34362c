package pusher

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// TestLongBatchIsNotRead: of a batch that is too long no more is made than it
// takes to say so.
func TestLongBatchIsNotRead(t *testing.T) {
	raw := []byte("[" + strings.Repeat("{},", 300_000) + "{}]")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var b batch
	err := json.Unmarshal(raw, &b)
	runtime.ReadMemStats(&after)
	if err != nil || len(b) != maxBatch+1 {
		t.Errorf("%d events, %v", len(b), err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d KiB for a batch that is refused", took>>10)
	}
	for _, raw := range []string{`{}`, `null`, `1`, `[1]`} {
		if err := json.Unmarshal([]byte(raw), new(batch)); err == nil {
			t.Errorf("%s is a batch", raw)
		}
	}
}

// TestSizeIsKnownBefore: an event takes no more than is counted before it is
// made.
func TestSizeIsKnownBefore(t *testing.T) {
	e := event{name: "e", channels: []string{"a", "private-b"}, data: json.RawMessage(`"x"`)}
	made := 0
	for _, channel := range e.channels {
		made += len(wire.RawEvent(e.name, channel, e.data, wire.Member{}))
	}
	if counted := e.size(); made > counted || counted > 2*made+100 {
		t.Errorf("%d bytes, counted as %d", made, counted)
	}
}
