package keeper

import (
	"bytes"
	"encoding/json"
	"strings"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// Codes of the notices that a session gets (worker.Notice.Code). The target is
// the channel's name on the bus.
const (
	// CodeSubscribed: the message confirms the subscription. The session joins
	// the channel, unless the client has left it meanwhile, and lets the message
	// go out; so the client sees every event of the keeper's from here on.
	CodeSubscribed uint16 = iota + 1
	// CodeRefused: the message says why not.
	CodeRefused
	// CodeCached is of a keeper of before: CodeSubscribed for a cache channel with
	// presence. It has two messages (worker.EachMessage): the second is the last
	// event, or that there is none.
	CodeCached
	// CodeTerminated: the message is the last that the client hears; the target
	// is the user's name. The session closes the connection.
	CodeTerminated
)

// What a worker tells the keeper is a batch of ops. Those that change the state
// are numbered from 1 over the life of the client, so that the keeper sees when
// some were lost; events are not, since whoever sends one knows it.
type batch struct {
	header
	Ops []op `json:"o"`
}

type header struct {
	Instance uint64 `json:"id"` // random, of the client
	First    uint64 `json:"n"`  // number of the first op; 0: they are events
	// Whole marks an announcement: the ops are all that the lease holds. It may
	// come in several batches, of which the last has Last.
	Whole bool `json:"w,omitempty"`
	Begin bool `json:"b,omitempty"`
	Last  bool `json:"l,omitempty"`
}

// word encodes a batch of ops that are encoded already.
func (h *header) word(ops []byte) []byte {
	raw, _ := json.Marshal(h) // numbers only
	raw = append(raw[:len(raw)-1], `,"o":[`...)
	return append(append(raw, ops...), "]}"...)
}

// portion encodes as many ops as fit one word, at least one, and returns how
// many. What is signed by a back end stays as it is: "<" is one byte, not six.
func portion(ops []op) (n int, raw []byte) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for n < len(ops) {
		before := b.Len()
		if n > 0 {
			b.WriteByte(',')
		}
		if e.Encode(&ops[n]) != nil {
			b.WriteString("null") // no op: its info is no JSON
		}
		if n > 0 && b.Len() > maxTell {
			b.Truncate(before)
			break
		}
		n++
	}
	return n, b.Bytes()
}

type kind string

const (
	opJoin  kind = "join"  // presence: a new subscription
	opHave  kind = "have"  // presence: one that is known to the client
	opLeave kind = "leave" // presence: the end of one
	opCount kind = "count" // connections in the channel, in this process

	opSignin  kind = "signin"  // a user is there by one more connection
	opUser    kind = "user"    // that is known to be
	opSignout kind = "signout" // and no more

	// Events, which are not part of the state that is announced.
	opHook kind = "hook" // for the webhooks

	opTerminate kind = "end" // the connections of a user

	// Between keepers, beside have, leave, user, signout and count.
	opGone  kind = "gone"  // of a user of a node that was lost
	opTold  kind = "told"  // to webhooks, that User is there (N = 1) or not, or Channel if there is no User; Conn: the node that told, or is to tell that it changed
	opNodes kind = "nodes" // Watch: whose lists the node has; Except and Parts: its chorus
)

// op is one change. Which fields it has depends on its kind.
type op struct {
	Kind    kind            `json:"k"`
	Channel string          `json:"c,omitempty"` // on the bus; of users: their uid there; of hooks: the app
	Conn    string          `json:"i,omitempty"`
	User    string          `json:"u,omitempty"`
	Number  bool            `json:"un,omitempty"` // User is sent as a number
	Info    json.RawMessage `json:"d,omitempty"`  // user_info
	Except  []string        `json:"x,omitempty"`
	Message string          `json:"m,omitempty"` // ready for clients
	Watch   []string        `json:"w,omitempty"` // users that the user watches
	N       int             `json:"n,omitempty"` // of opCount; of a departure that is announced: its number when it was told
	Joined  int             `json:"j,omitempty"` // of such a departure: the number of the join, 0 = it was long before; of opCount: how many of N are news, less than 0 = so many have left; between keepers: 1 = lately, of opCount too
	Event   *hook.Event     `json:"e,omitempty"`
	Parts   []part          `json:"p,omitempty"`
}

// member returns who an op is about.
func (o *op) member() wire.Member { return wire.Member{ID: o.User, Number: o.Number, Info: o.Info} }

// of names a member in an op.
func (o op) of(m wire.Member) op {
	o.User, o.Number, o.Info = m.ID, m.Number, m.Info
	return o
}

// hello asks where the keeper stands.
type hello struct {
	Instance uint64 `json:"id"`
	Next     uint64 `json:"n"` // number of the next op
}

// standing is the answer.
type standing struct {
	Next     uint64 `json:"n"` // number of the op that it expects
	Announce bool   `json:"a"` // ops were lost: announce
	Settled  bool   `json:"s"` // what it has been told it has acted on
}

// question is what Ask gets.
type question struct {
	Hello *hello   `json:"hello,omitempty"`
	Users string   `json:"users,omitempty"` // channel on the bus
	Form  bool     `json:"form,omitempty"`  // users as they were given: numbers, too
	Of    []string `json:"of,omitempty"`    // channels on the bus, to count
}

// Name returns the name on the bus of an app's channel or user. Neither app ids
// nor channels hold ":".
func Name(app, channel string) string { return app + ":" + channel }

// Split undoes Name.
func Split(name string) (app, channel string) {
	app, channel, _ = strings.Cut(name, ":")
	return app, channel
}
