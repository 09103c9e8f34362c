package order

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// draft is an order whose publications are not made yet, so that what they cost
// is known before.
type draft struct {
	*request
	kind    worker.Kind
	targets []target
}

type target struct {
	scope worker.Scope
	name  string
}

func (r *request) draft(kind worker.Kind) *draft { return &draft{request: r, kind: kind} }

func (d *draft) to(scope worker.Scope, names []string) *draft {
	for _, name := range names {
		d.targets = append(d.targets, target{scope, name})
	}
	return d
}

// publications makes them, if they are within the budget.
func (d *draft) publications(known Names, b *Budget) ([]worker.Publication, error) {
	if err := d.checkApp(known.Apps); err != nil {
		return nil, err
	}
	if err := d.checkGroup(known.Groups); err != nil {
		return nil, err
	}
	if d.app != "" && d.kind == worker.KindMessage {
		d.data = pusher.AppendString(nil, string(d.data)) // the part that all its events share
	}
	if err := b.spend(len(d.targets), d.size); err != nil {
		return nil, err
	}
	ps := make([]worker.Publication, len(d.targets))
	for i, t := range d.targets {
		ps[i] = worker.Publication{
			Kind: d.kind, Scope: t.scope, Target: t.name,
			Data: d.data, Binary: d.binary, Code: d.code, Except: d.except, Order: d.order,
		}
		if d.app != "" {
			d.inApp(&ps[i])
		}
	}
	return ps, nil
}

// eventBytes is more than an event of the Pusher protocol has beside its names
// and data.
const eventBytes = 64

// size is what the publications take on the bus, in bytes.
func (d *draft) size() int {
	each := len(d.data) + 2*len(d.event) + eventBytes
	for _, id := range d.except {
		each += len(id)
	}
	size := each * len(d.targets)
	for _, t := range d.targets {
		size += 2 * len(t.name)
	}
	return size
}

// checkApp judges what only orders in an app have, and what they must not have.
func (d *draft) checkApp(apps Apps) error {
	limit, known := apps[d.app]
	switch {
	case d.app == "" && d.event != "":
		return invalid("app", "app is needed with event")
	case d.app == "":
		return nil
	case !known:
		return &Error{Cause: UnknownApp, Field: "app", Message: "no such app: the config has no [[app]] with this id"}
	case d.kind == worker.KindMessage && d.binary:
		return invalid("data_base64", "data_base64: events are text")
	case d.kind == worker.KindMessage && limit > 0 && len(d.data) > limit:
		return &Error{Cause: TooLong, Field: "data", Message: fmt.Sprintf("data is over %d bytes, the max_event of the app", limit)}
	case d.kind == worker.KindMessage && !pusher.ValidEvent(d.event):
		return invalid("event", "event: 1 to %d bytes, not beginning with pusher: or pusher_internal:", pusher.MaxEventName)
	}
	for _, t := range d.targets {
		if t.scope != worker.ScopeChannel {
			continue
		}
		if _, user := pusher.UserOf(t.name); !user && !pusher.ValidChannel(t.name) {
			return invalid("channel", "channel %q: the Pusher protocol allows up to %d letters, digits and -_=@,.;", clip(t.name), pusher.MaxChannel)
		}
	}
	return nil
}

// checkGroup judges whether there is a worker group of that name, if one is named.
func (d *draft) checkGroup(groups func() []string) error {
	if d.worker == "" || groups == nil {
		return nil
	}
	all := groups()
	if slices.Contains(all, d.worker) {
		return nil
	}
	return &Error{Cause: UnknownGroup, Field: "worker", Message: fmt.Sprintf("worker: there is no group %q, but [%s]", clip(d.worker), strings.Join(all, " "))}
}

// inApp makes the target that of the app, "app:name" on the bus, and a message
// an event as the app's clients know it.
func (d *draft) inApp(p *worker.Publication) {
	channel := ""
	switch p.Scope {
	case worker.ScopeChannel:
		channel = p.Target
		p.Target = d.app + ":" + p.Target
	case worker.ScopeUID:
		channel = pusher.UserChannel(p.Target)
		p.Target = d.app + ":" + p.Target
	}
	if p.Kind == worker.KindMessage {
		p.Data = pusher.RawEvent(d.event, channel, d.data, pusher.Member{})
	}
}
