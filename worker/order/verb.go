package order

import (
	"encoding/json"

	"github.com/pushd/pushd/worker"
)

// verb is one thing that may be ordered: the fields that it takes, and what is
// to be published for them.
type verb struct {
	fields []string
	build  func(*request) (*draft, error)
}

var verbs = map[string]verb{
	"publish":   {[]string{"channel", "channels", "data", "data_base64", "except", "app", "event", "idempotency_key", "version"}, buildPublish},
	"send":      {[]string{"uid", "uids", "connection", "connections", "data", "data_base64", "app", "event"}, buildSend},
	"broadcast": {[]string{"worker", "data", "data_base64", "except"}, buildBroadcast},
	"kick":      {[]string{"uid", "uids", "connection", "connections", "code", "reason", "app"}, buildKick},
	"bind":      {[]string{"connection", "uid"}, buildBind},
	"unbind":    {[]string{"connection", "uid"}, buildUnbind},
	"join":      {[]string{"connection", "channel", "channels"}, membership(worker.KindJoin)},
	"leave":     {[]string{"connection", "channel", "channels"}, membership(worker.KindLeave)},
}

func (r *request) needData() error {
	if !r.hasData {
		return invalid("data", "data or data_base64 is needed")
	}
	return nil
}

func buildPublish(r *request) (*draft, error) {
	if len(r.channels) == 0 {
		return nil, invalid("channel", "channel or channels is needed")
	}
	return r.draft(worker.KindMessage).to(worker.ScopeChannel, r.channels), r.needData()
}

func buildSend(r *request) (*draft, error) {
	d, err := r.toPeople(worker.KindMessage)
	if err != nil {
		return nil, err
	}
	return d, r.needData()
}

func buildBroadcast(r *request) (*draft, error) {
	return r.draft(worker.KindMessage).to(worker.ScopeAll, []string{r.worker}), r.needData()
}

func buildKick(r *request) (*draft, error) {
	if r.code == 0 {
		r.code = 1000
	}
	r.data = []byte(r.reason)
	return r.toPeople(worker.KindKick)
}

func (r *request) toPeople(kind worker.Kind) (*draft, error) {
	if len(r.uids)+len(r.connections) == 0 {
		return nil, invalid("uid", "uid, uids, connection or connections is needed")
	}
	return r.draft(kind).to(worker.ScopeUID, r.uids).to(worker.ScopeConn, r.connections), nil
}

func buildBind(r *request) (*draft, error) {
	if len(r.uids) == 0 {
		return nil, invalid("uid", "uid is needed")
	}
	r.data = []byte(r.uids[0])
	return r.toConnection(worker.KindBind)
}

// buildUnbind: a connection that is by now bound to another uid than the one
// given, if any, stays so.
func buildUnbind(r *request) (*draft, error) {
	if len(r.uids) > 0 {
		r.data = []byte(r.uids[0])
	}
	return r.toConnection(worker.KindUnbind)
}

func membership(kind worker.Kind) func(*request) (*draft, error) {
	return func(r *request) (*draft, error) {
		if len(r.channels) == 0 {
			return nil, invalid("channel", "channel or channels is needed")
		}
		list, err := json.Marshal(r.channels)
		if err != nil {
			return nil, invalid("channels", "channels: %v", err)
		}
		r.data = list
		return r.toConnection(kind)
	}
}

func (r *request) toConnection(kind worker.Kind) (*draft, error) {
	if len(r.connections) == 0 {
		return nil, invalid("connection", "connection is needed")
	}
	return r.draft(kind).to(worker.ScopeConn, r.connections), nil
}
