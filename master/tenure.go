package master

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// tenure is the right of this machine's broker processes to the node's name: the
// other nodes of a cluster see by it that one is the successor of the other. It
// travels with the master into its next version.
type tenure struct {
	Token uint64    `json:"token"`
	Drawn time.Time `json:"drawn"`
	Held  bool      `json:"held"` // a broker process with it has served

	Kept json.RawMessage `json:"kept,omitempty"` // see control.TypeKeep
}

// keepNodes notes what the broker process wants its successor to know. Its reader calls
// it.
func (m *master) keepNodes(p *process, body json.RawMessage) {
	if p.unit.role == control.RoleBroker && len(body) <= control.MaxKept {
		m.post(func() { m.tenure.Kept = body })
	}
}

func newTenure() tenure {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return tenure{Token: binary.BigEndian.Uint64(b[:]) | 1, Drawn: time.Now()}
}

// inherit is what a broker process is told of the one before it. It runs on the loop.
func (m *master) inherit() *control.Tenure {
	t := &m.tenure
	told := &control.Tenure{Token: t.Token, AgeMS: time.Since(t.Drawn).Milliseconds(), Held: t.Held, Kept: t.Kept}
	if m.complete { // else they are not known, rather than none
		told.Workers = m.workerNames()
	}
	return told
}
