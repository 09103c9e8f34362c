package mercure

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/mercure/census"
	"github.com/pushd/pushd/worker/history"
)

// announce tells who may know that the subscriptions of a stream have begun or
// ended.
func (h *Handler) announce(s *subscriber, active bool) {
	if !h.opt.Subscriptions {
		return
	}
	h.enroll(s, active)
	for i := range s.sub.Matchers {
		d := h.document(s, i, active)
		e := census.Event(&d)
		if err := h.w.Publish(h.channel(), worker.Message{Data: e.Append(nil)}); err != nil {
			h.log.Warn("a subscription was not announced", "error", err)
			return
		}
	}
}

// enroll tells the census of a stream that has come or gone, should this process
// die.
func (h *Handler) enroll(s *subscriber, here bool) {
	if !h.opt.Subscriptions {
		return
	}
	w := census.Word{Process: own, Hub: h.channel(), Subscriber: s.id}
	for i := range s.sub.Matchers {
		if here {
			w.Documents = append(w.Documents, h.document(s, i, true))
		}
	}
	h.tell(&w)
}

func (h *Handler) tell(w *census.Word) {
	if b, err := json.Marshal(w); err == nil {
		_ = h.w.Tell(census.Service, b) // what is lost is told again with all, see visit
	}
}

// own is what the census knows this process by, of whatever hubs it tells.
var own = rand.Text()

// visitEach is how often the census is asked whether it is still the one that was
// told.
const visitEach = 5 * time.Second

// visit tells all to a census that knows nothing, since its process is a new one.
func (h *Handler) visit() {
	h.w.Ask(census.Service, nil, visitEach, func(b []byte, err error) {
		var instance string
		if err != nil || json.Unmarshal(b, &instance) != nil || instance == h.census || h.moving {
			return
		}
		h.census = instance
		h.tell(&census.Word{Process: own})
		for _, s := range h.subs.of {
			h.enroll(s, true)
		}
	})
}

func (h *Handler) document(s *subscriber, i int, active bool) wire.Document {
	m := &s.sub.Matchers[i]
	return h.hub.Document(m, s.id, active, s.grants.Payload(h.hub, m))
}

const (
	queryList   = "mercure.list" // listQuery → documents
	gatherWait  = 250 * time.Millisecond
	maxListed   = 10_000 // subscriptions in an answer
	listedBytes = 256 << 10
)

// listQuery is what the processes of a hub ask each other.
type listQuery struct {
	Hub   string     `json:"hub"`
	Which wire.Which `json:"which"`
}

// listed is what one has.
type listed struct {
	Documents []wire.Document `json:"d"`
	Last      string          `json:"l,omitempty"` // id of the newest event that it has seen
}

// OnQuery answers the other processes.
func (h *Handler) OnQuery(what string, args []byte) ([]byte, error) {
	var q listQuery
	if what != queryList || json.Unmarshal(args, &q) != nil || q.Hub != h.channel() {
		return nil, nil
	}
	l, size := listed{Last: h.last.id}, 0
	for _, s := range h.subs.of {
		for i := range s.sub.Matchers {
			d := h.document(s, i, true)
			if !q.Which.Has(&d) {
				continue
			}
			if size += len(d.ID) + len(d.Match) + len(d.Payload) + 200; size > listedBytes {
				return json.Marshal(l)
			}
			l.Documents = append(l.Documents, d)
		}
	}
	return json.Marshal(l)
}

// list answers the API of subscriptions.
func (h *Handler) list(w *worker.Response, r *worker.Request, path string, which wire.Which) {
	a, ok := h.admit(w, r)
	switch {
	case !ok:
		return
	case !a.token:
		h.challenge(w, r, http.StatusUnauthorized, "", "a token is needed here")
		return
	case !a.grants.MayRead(h.hub.Topics([]string{path})):
		h.challenge(w, r, http.StatusForbidden, "insufficient_scope", "the token does not grant subscribe on this URL")
		return
	}
	args, err := json.Marshal(listQuery{h.channel(), which})
	if err != nil {
		fail(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Defer()
	h.newest(func(last string) {
		h.w.Gather(queryList, args, gatherWait, func(answers []worker.Answer, complete bool) {
			all := listed{Last: last}
			for _, one := range answers {
				var l listed
				if one.Data != nil && json.Unmarshal(one.Data, &l) == nil {
					all.Documents = append(all.Documents, l.Documents...)
					if last == "" && l.Last != "" {
						all.Last = l.Last
					}
				}
			}
			h.listed(w, path, which, all, complete)
			w.End()
		})
	})
}

// newest finds the id of the event that the hub has dispatched last, before anybody
// is asked for subscriptions: who follows the events behind it misses no change of
// the list. The history knows it, processes only what they have seen themselves; ""
// says that there is none, or no history.
func (h *Handler) newest(found func(id string)) {
	h.w.History(worker.HistoryQuery{Channel: h.channel(), Newest: true, Limit: 1}, func(p worker.HistoryPage, err error) {
		if err != nil || p.Last == 0 {
			found("")
			return
		}
		found(eventID(history.Position{Epoch: p.Now.Epoch, Offset: p.Last}))
	})
}

func (h *Handler) listed(w *worker.Response, path string, which wire.Which, all listed, complete bool) {
	last := all.Last
	if last == "" {
		last = wire.Earliest
	}
	if u, err := url.Parse(h.opt.Hub); err == nil {
		w.Header().Set("Link", "<"+u.String()+`>; rel="mercure"; last-event-id="`+last+`"; type="mercure"; content-type="application/json"`)
	}
	w.Header().Set("Cache-Control", "no-store")
	if !complete {
		w.Header().Set("Retry-After", "1") // a process has not answered
	}
	slices.SortFunc(all.Documents, func(a, b wire.Document) int { return strings.Compare(a.ID, b.ID) })
	all.Documents = slices.CompactFunc(all.Documents, func(a, b wire.Document) bool { return a.ID == b.ID })
	if len(all.Documents) > maxListed {
		all.Documents = all.Documents[:maxListed]
	}
	switch {
	case which.Subscriber == "":
		answer(w, "application/json", h.hub.Collection(path, all.Documents))
	case len(all.Documents) == 0:
		fail(w, http.StatusNotFound, "there is no such subscription")
	default:
		answer(w, "application/json", all.Documents[0])
	}
}
