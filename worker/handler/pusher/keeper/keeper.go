// Package keeper knows what no worker alone can know about the channels of the
// Pusher protocol: who is present in them, who is signed in and watched by whom,
// and how many connections a channel has.
//
// Keeper is a service in the broker process; Client is the end of it in each
// worker process. The keeper is the one publisher of everything that must be
// seen in one order: members that come and go, the list that a new subscriber
// gets. So a subscriber sees the list at one place in
// the stream and every change after it once, in whatever process it is and
// whatever process it moves to.
//
// What a worker has told belongs to its lease, which ends with its process. A
// keeper that starts again knows nothing and lets the workers announce what
// they hold; until they have, nobody is told that anybody came or went.
package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

func init() {
	worker.RegisterService(Service, func() worker.Service { return &Keeper{} })
}

// hooks is where webhooks get their events: a hook.Queue.
type hooks interface {
	Add(app string, events ...hook.Event)
	Stats() []hook.Stats
	Close() error
}

// Keeper is the service. All of it belongs to the service's goroutine.
type Keeper struct {
	env   *worker.ServiceEnv
	apps  map[string]*wire.App
	hooks hooks // nil: no app has an endpoint

	leases  leases
	settled bool     // every worker has announced what it holds
	heir    bool     // it has the members of the keeper before: who is none of them was told to have left
	parting bool     // all clients are being closed: they are not told of each other's end
	tombs   []func() // departures of before the keeper began, and …
	waiting []func() // … changes that came before it was settled

	entries map[key]*entry    // subscriptions to presence channels
	rooms   map[string]*room  // presence channels with somebody in them
	touched []*room           // to be flushed at the end of the word in hand
	due     int               // rooms that are to be flushed, now or after their pause
	heard   map[uint64]uint64 // by client: the op that the keeper before expected next
	buried  map[key]bool      // by user: departures of before the keeper began that were told
	counts  counts
	people  people
	mirror  mirror
	ledger  ledger
}

// maxWaiting bounds the changes that wait while the keeper is not settled. A
// join beyond it is told again by its worker.
const maxWaiting = 256 << 10

// Start implements worker.Service.
func (k *Keeper) Start(env *worker.ServiceEnv) error {
	apps, err := Apps(env.Options)
	if err != nil {
		return err
	}
	k.env = env
	k.apps = map[string]*wire.App{}
	hooked := false
	for i := range apps {
		k.apps[apps[i].ID] = &apps[i]
		hooked = hooked || len(apps[i].Webhooks) > 0
	}
	k.entries, k.rooms = map[key]*entry{}, map[string]*room{}
	k.buried = map[key]bool{}
	k.leases.byName, k.leases.started = map[string]*lease{}, env.Now()
	k.counts.init()
	k.people.init()
	k.mirror.start(env)
	k.divide(&k.mirror.chorus)
	k.ledger.owed, k.ledger.told = map[key]*debt{}, map[key]told{}
	k.ledger.untold, k.ledger.late = map[key]bool{}, map[lateKey]lateHook{}
	if env.DataDir != "" {
		if err := k.loadHeard(env.DataDir); err != nil {
			env.Log.Warn("presence: a departure of this moment may be told twice, since what was told before cannot be read", "error", err)
		}
		if err := k.loadHanded(env.DataDir); err != nil {
			env.Log.Warn("presence: what has changed in this moment is not told", "error", err)
		}
	}
	if hooked && k.hooks == nil {
		if env.DataDir == "" {
			return errors.New("webhooks need a data_dir")
		}
		q, err := hook.Open(env.DataDir, apps, env.Log, k.lateHooks())
		if err != nil {
			return fmt.Errorf("open queue of webhooks: %w", err)
		}
		k.hooks = q
	}
	return nil
}

// Stop implements worker.Service.
func (k *Keeper) Stop() {
	k.flushAll()
	k.makeGood(0)
	k.mirror.flush()
	if k.env.DataDir != "" {
		if err := k.saveHeard(k.env.DataDir); err != nil {
			k.env.Log.Error("presence: a departure of this moment may be told twice after the next start, since it cannot be noted", "error", err)
		}
		if err := k.saveHanded(k.env.DataDir); err != nil {
			k.env.Log.Error("presence: what changes before the next start is not told", "error", err)
		}
	}
	if k.hooks != nil {
		if err := k.hooks.Close(); err != nil {
			k.env.Log.Error("close queue of webhooks", "error", err)
		}
	}
}

// Tell implements worker.Service.
func (k *Keeper) Tell(from string, data []byte) {
	var b batch
	if err := json.Unmarshal(data, &b); err != nil {
		k.env.Log.Warn("word of a worker ignored", "worker", from, "error", err)
		return
	}
	if b.First == 0 {
		k.events(b.Ops)
		return
	}
	l, known := k.leases.take(from, &b, k.env.Now())
	for i := range b.Ops {
		if known {
			k.apply(l, &b.Ops[i], b.Whole && !l.met && !k.told(l, &b.Ops[i]))
		}
	}
	if b.Last && l.unnamed != nil {
		k.announced(l)
	}
	k.settle()
	k.flush()
	k.watchLeases()
}

// events acts on what belongs to nobody's state.
func (k *Keeper) events(ops []op) {
	for i := range ops {
		switch o := &ops[i]; {
		case o.Kind == opHook && o.Event != nil:
			k.hook(o.Channel, *o.Event)
		case o.Kind == opTerminate:
			k.inTurn(func() { k.terminate(o) })
		}
	}
}

// apply makes one change of state. Until all is announced, only what is known
// to clients already counts at once.
//
// With tomb, a departure may be news of before the keeper began.
func (k *Keeper) apply(l *lease, o *op, tomb bool) {
	l.named(o)
	switch o.Kind {
	case opHave:
		k.have(l, o)
	case opUser, opSignin:
		k.signin(l, o, o.Kind == opUser)
	case opCount:
		k.count(l, o)
	default:
		if o.Kind == opLeave && tomb && !k.settled {
			k.tombs = append(k.tombs, func() { k.leave(o, true) })
			return
		}
		if o.Kind == opSignout && tomb && k.people.told == nil {
			k.recall(o.Channel, false)
		}
		k.inTurn(func() { k.change(l, o, tomb) })
	}
}

// change is apply for what others are told of.
func (k *Keeper) change(l *lease, o *op, tomb bool) {
	switch o.Kind {
	case opJoin:
		k.join(l, o)
	case opLeave:
		k.leave(o, tomb)
	case opSignout:
		k.signout(o, tomb)
	}
}

// Roster implements worker.Service.
func (k *Keeper) Roster(workers []string) {
	k.leases.roster(workers, k.env.Now())
	k.settle()
	k.flush()
	k.watchLeases()
}

// Parting implements worker.PartingService. A client that sees the others vanish
// one by one before a planned stop would be told of something that did not happen;
// webhooks are.
func (k *Keeper) Parting() { k.parting, k.mirror.parting = true, true }

// app returns the app of a name on the bus, nil for none that is configured,
// and the channel as clients know it.
func (k *Keeper) app(name string) (*wire.App, string) {
	id, channel := Split(name)
	return k.apps[id], channel
}

// hookAlone is hook for what is in the ledger where there are several nodes.
func (k *Keeper) hookAlone(app string, e hook.Event) {
	if k.mirror.node == "" {
		k.hook(app, e)
	}
}

func (k *Keeper) hook(app string, e hook.Event) {
	if k.hooks != nil {
		k.hooks.Add(app, e)
	}
}

// publish logs what cannot be published; it is too large, or the end is near.
func (k *Keeper) publish(ps ...worker.Publication) {
	if err := k.env.Publish(ps...); err != nil {
		k.env.Log.Warn("publication of presence given up", "channel", ps[0].Target, "error", err)
	}
}

// toConns is a notice to connections, in the order of the channel's messages.
func toConns(name string, code uint16, conns []string, message []byte) worker.Publication {
	return worker.Publication{Kind: worker.KindService, Scope: worker.ScopeList, Target: name, Code: code, Conns: conns, Data: message}
}

// sweepPause is how often leases are looked at while one may have ended.
const sweepPause = 250 * time.Millisecond
