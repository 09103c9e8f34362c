package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestANodeThatFlaps: a node dies and is started again, over and over, also before it
// is ready. The others tell of each of its members once that he has left, count with
// nobody of an earlier life, and the node itself knows theirs as soon as it serves.
func TestANodeThatFlaps(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 2, Config: strings.Replace(rooms, `"5s"`, `"60s"`, 1)}) // a busy machine takes nobody for lost
	stays, flaps := c.Nodes[0], c.Nodes[1]
	p := &party{t: t, c: c}
	for _, user := range []string{"ann", "bob"} {
		p.all = append(p.all, visit(t, stays, user))
	}
	p.agree("both know both", "ann", "bob")
	p.whole()
	for _, v := range p.all {
		v.news()
	}
	for life := range 4 {
		user := fmt.Sprint("guest-", life)
		guest := visit(t, flaps, user)
		everybody := &party{t: t, c: c, all: append([]*visitor{guest}, p.all...)}
		everybody.agree("all know the guest", "ann", "bob", user)
		p.toldOnly(user+" comes", func(*visitor) string { return "+" + user })
		flaps.Die()
		for range life {
			flaps.dieSoon(t)
		}
		flaps.MustRun("start", "-d")
		p.agree("the guest of the life before has left", "ann", "bob")
		p.whole()
		p.toldOnly(user+" has died with his node", func(*visitor) string { return "-" + user })
	}
}

// dieSoon starts the node and kills it at any moment until it is ready.
func (n *Node) dieSoon(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	start := n.Command(ctx, "start", "-d")
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	moment := time.Duration(rand.Int64N(int64(time.Second))) // any will do
	t.Logf("killed %v after it has begun to start", moment)
	time.Sleep(moment)
	n.signal(syscall.SIGKILL)
	_ = start.Wait() // it has no master to speak to
	pushdtest.Eventually(t, n.Name+" is gone", func() bool {
		n.signal(syscall.SIGKILL) // what was being made meanwhile
		return len(n.Processes()) == 0
	})
}
