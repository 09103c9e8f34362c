package keeper

import (
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// What nodes say to each other of their telling: a word when something was told, and
// with a list what is owed and what was told lately.

// toldOp says what the webhooks have heard last, and who has told it, or is to tell
// what has become of it.
func toldOp(at key, here bool, d *debt) op {
	o := op{Kind: opTold, Channel: at.channel, Conn: d.by}.of(wire.Member{ID: at.conn, Number: d.number})
	if here {
		o.N = 1
	}
	return o
}

// accountOps are what the list of this node says of its telling: what is owed, and,
// marked, what it has told lately, the latest of each.
func (k *Keeper) accountOps() (ops []op) {
	for at, d := range k.ledger.owed {
		ops = append(ops, toldOp(at, !k.here(at), d))
	}
	for at, t := range k.ledger.told {
		if age := k.env.Now().Sub(t.at); t.by == k.mirror.node && age <= recentTime {
			o := toldOp(at, t.here, &debt{by: t.by, number: t.number})
			o.Joined = 1 + int(age.Milliseconds())
			ops = append(ops, o)
		}
	}
	return ops
}

// toldInTurn has heardTold run once it is known what is so.
func (k *Keeper) toldInTurn(o *op) {
	came := k.ledger.came
	k.inTurn(func() {
		k.ledger.came = came
		k.heardTold(o)
	})
}

// heardTold takes in what a peer says of its telling: what it has told, so long ago,
// or else what it believes to be owed, which counts less than what was heard here.
func (k *Keeper) heardTold(o *op) {
	at, is := key{o.User, o.Channel}, o.N > 0
	if !k.accounts(at) {
		return
	}
	l := &k.ledger
	when := l.came.Add(-time.Duration(o.Joined) * time.Millisecond)
	last, heard := l.told[at]
	switch {
	case o.Joined == 0 && (heard && k.env.Now().Sub(last.at) <= recentTime || l.owed[at] != nil), when.Before(last.at):
		return
	case o.Joined > 0:
		l.remember(at, told{o.Conn, when, is, o.Number})
	}
	here := k.here(at)
	switch d := l.owed[at]; {
	case here == is:
		delete(l.owed, at)
		if !is && o.Joined == 0 && len(l.untold) < maxRecent {
			l.untold[at] = true
		}
	case d == nil && here:
		k.record(at, k.mirror.payer(o.Conn, at), amendTime, o.Number)
	case d == nil:
		k.record(at, k.mirror.payer(o.Conn, at), hook.Hold, o.Number)
	}
}
