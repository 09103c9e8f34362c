package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/history"
)

// historian is a history service that takes its time. What it is asked it answers with
// fault. It lives in the test that has set it.
type historian struct {
	env   *worker.ServiceEnv
	queue []*worker.Publication
	fault error
}

var theHistorian *historian

func init() {
	worker.RegisterService(worker.HistoryService, func() worker.Service { return theHistorian })
}

func (h *historian) Start(env *worker.ServiceEnv) error { h.env = env; return nil }
func (h *historian) Tell(string, []byte)                {}
func (h *historian) Roster([]string)                    {}
func (h *historian) Stop()                              {}

func (h *historian) Ask(_ string, _ []byte, answer func([]byte, error)) { answer(nil, h.fault) }

func (h *historian) Order(p *worker.Publication) {
	h.queue = append(h.queue, p)
	h.env.After(20*time.Millisecond, func() {
		p, h.queue = h.queue[0], h.queue[1:]
		raw, _ := json.Marshal(worker.Numbered{Position: history.Position{Epoch: history.Draw(7), Offset: 1}})
		h.env.Answer(p.Reply, raw)
		p.Order = nil
		_ = h.env.Publish(*p)
	})
}

// newHistoryStage is a stage with a historian, to which channels h.* belong; the API's
// queue to the bus takes so many publications.
func newHistoryStage(t *testing.T, queue int, change ...func(*Options)) (*stage, *historian) {
	t.Helper()
	st, h := newStage(t, change...), &historian{}
	theHistorian = h
	client := func(id string) *broker.Client {
		c, err := broker.NewClient(broker.Options{
			ID: id, Server: st.bus, Logger: quiet(), QueueItems: queue,
			Ordered: func(channel string) bool { return strings.HasPrefix(channel, "h.") },
		})
		if err == nil {
			err = c.Start(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	st.api.o.Client = client("api2")
	host, err := broker.StartHost(broker.HostOptions{Client: client("host"), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return st, h
}

const (
	publishH = `{"op":"publish","channel":"h.a","data":"p"}`
	sendTo   = `{"op":"send","connection":"1.1","data":"s"}`
	numbered = `{"reached":1,"complete":true,"position":"000008:1"}`
	sentOne  = `{"reached":1,"online":true,"complete":true}`
)

// TestBatchBehindTheHistory: a message that has to be numbered comes later than what
// needs no number, and not behind the items that follow it.
func TestBatchBehindTheHistory(t *testing.T) {
	const kick, closed = `{"op":"kick","connection":"1.1"}`, `{"closed":1,"complete":true}`
	const join, leave = `{"op":"join","connection":"1.1","channel":"h.a"}`, `{"op":"leave","connection":"1.1","channel":"h.a"}`
	const keyed, plain = `{"op":"publish","channel":"b","data":"k","idempotency_key":"1"}`, `{"op":"publish","channels":["b","h.b"],"data":"q"}`
	for _, c := range []struct{ items, results, got string }{
		{publishH + "," + kick, numbered + "," + closed, "p"},
		{publishH + "," + leave + "," + join, numbered + ",{},{}", "p"},
		{leave + "," + join + "," + publishH + "," + leave, "{},{}," + numbered + ",{}", "p"},
		{sendTo + "," + publishH + "," + sendTo + `,{"op":"fly"},` + publishH + "," + publishH, sentOne + "," + numbered + "," + sentOne + ",…," + numbered + "," + numbered, "s p s p p"},
		{keyed + "," + plain + "," + sendTo, numbered + "," + `{"reached":1,"complete":true,"positions":{"h.b":"000008:1"}},` + sentOne, "k q s"},
	} {
		st, _ := newHistoryStage(t, 0)
		a := conn("1.1", "", "h.a", "b")
		st.worker("push/0/1", a)
		status, body := st.call("POST", "/v1/batch", `{"items":[`+c.items+`]}`)
		body = strings.ReplaceAll(body, `{"error":"unknown op \"fly\"; known are [bind broadcast join kick leave publish send unbind]","field":"op"}`, "…")
		if want := `{"results":[` + c.results + `]}`; status != 200 || body != want {
			t.Errorf("%s\n got %d %s\nwant %s", c.items, status, body, want)
		}
		if got := strings.ReplaceAll(strings.Join(a.got, " "), "text:", ""); got != c.got {
			t.Errorf("%s: the client got %q, want %q", c.items, got, c.got)
		}
	}
}

// TestBatchIsHeldUpOnce: when the workers have not answered in time, what is left of the
// batch goes at once.
func TestBatchIsHeldUpOnce(t *testing.T) {
	st, _ := newHistoryStage(t, 0, func(o *Options) { o.AnswerTimeout = 300 * time.Millisecond })
	a := conn("1.1", "", "h.a")
	w := st.worker("push/0/1", a)
	w.mute = true
	const late = `{"reached":0,"complete":false,"position":"000008:1"}`
	const silent = `{"reached":0,"online":false,"complete":false}`
	st.want("POST", "/v1/batch", `{"items":[`+publishH+","+sendTo+","+publishH+","+sendTo+`]}`, 200,
		`{"results":[`+late+","+silent+","+late+","+silent+`]}`)
	want := []string{"text:p", "text:s", "text:s", "text:p"} // nobody has waited for its answers
	testkit.Eventually(t, "all has come", func() bool { return len(w.received(0)) >= len(want) })
	if got := w.received(0); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestBatchThatIsTakenInPart: what has been sent is told, and so is what was not.
func TestBatchThatIsTakenInPart(t *testing.T) {
	st, _ := newHistoryStage(t, 2)
	st.worker("push/0/1", conn("1.1", "", "h.a"))
	busy := fmt.Sprintf(`{"error":%q}`, worker.ErrBrokerBusy)
	st.want("POST", "/v1/batch", `{"items":[`+publishH+strings.Repeat(","+sendTo, 3)+","+publishH+`]}`, 200,
		`{"results":[`+numbered+strings.Repeat(","+busy, 4)+`]}`)
	st.want("POST", "/v1/batch", `{"items":[`+sendTo+strings.Repeat(","+sendTo, 2)+`]}`, 503, busy)
}

// TestHistoryThatIsAway: what the shared history cannot answer now is no fault of pushd.
func TestHistoryThatIsAway(t *testing.T) {
	st, h := newHistoryStage(t, 0)
	for _, c := range []struct {
		fault  error
		status int
	}{
		{fmt.Errorf("%w: no leader", worker.ErrUnavailable), 503},
		{errors.New("no such page"), 500},
	} {
		h.fault = c.fault
		for _, method := range []string{"GET", "DELETE"} {
			st.want(method, "/v1/history?channel=h.a", "", c.status, fmt.Sprintf(`{"error":%q}`, c.fault))
		}
	}
}
