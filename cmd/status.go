package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/worker"
)

// queryTimeout bounds a question to the master, which itself waits for its
// children for a second.
const queryTimeout = 10 * time.Second

// status shows the processes once, or each second.
func status(c *call) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	if !c.flags.Bool("watch") {
		s, err := getStatus(client)
		if err != nil {
			return err
		}
		if c.json() {
			return writeJSON(c.out, s)
		}
		tellStatus(c.out, c.program.Name, s, nil, c.screen())
		return nil
	}
	rates := &rates{}
	return c.watch(func(w io.Writer) error {
		s, err := getStatus(client)
		if err != nil {
			return err
		}
		rates.update(s, time.Now())
		if c.json() {
			return writeJSON(w, s)
		}
		tellStatus(w, c.program.Name, s, rates, c.screen())
		_, err = fmt.Fprintln(w)
		return err
	})
}

func getStatus(client *master.Client) (*master.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	s, err := client.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the master for its status: %w", err)
	}
	return s, nil
}

// watch repeats what show writes, each second, until it is interrupted.
func (c *call) watch(show func(w io.Writer) error) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, master.Heeded(syscall.SIGINT, syscall.SIGTERM)...)
	defer signal.Stop(interrupted)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var b strings.Builder
		if err := show(&b); err != nil {
			return err
		}
		if isTerminal(c.out) && !c.json() {
			fmt.Fprint(c.out, "\x1b[H\x1b[2J")
		}
		if _, err := fmt.Fprint(c.out, b.String()); err != nil {
			return err
		}
		select {
		case <-interrupted:
			return nil
		case <-tick.C:
		}
	}
}

// rates turns the counters of two looks into messages a second of each slot. In
// a reload two processes share one, and what has ended counts with what follows.
type rates struct {
	at     time.Time
	counts map[slot]uint64
	qps    map[slot]float64
	newest map[slot]int // pid of the process that the rate is shown with
}

type slot struct {
	group string
	index int
}

func slotOf(w master.WorkerStatus) slot { return slot{w.Name, w.Slot} }

func (r *rates) update(s *master.Status, now time.Time) {
	counts, qps, newest := map[slot]uint64{}, map[slot]float64{}, map[slot]int{}
	for _, w := range s.Workers {
		counts[slotOf(w)] += statsOf(w).MessagesIn
		newest[slotOf(w)] = w.PID
	}
	for at, n := range counts {
		if before, known := r.counts[at]; known && n >= before {
			qps[at] = float64(n-before) / now.Sub(r.at).Seconds()
		}
	}
	r.at, r.counts, r.qps, r.newest = now, counts, qps, newest
}

// of returns the messages a second of a worker: of its slot since the last look,
// or on the first, and without a watch, on average since the process was started.
func (r *rates) of(w master.WorkerStatus) float64 {
	if r != nil {
		if q, ok := r.qps[slotOf(w)]; ok && r.newest[slotOf(w)] == w.PID {
			return q
		} else if ok {
			return 0 // the other process of the slot has it
		}
	}
	age := time.Since(w.Started).Seconds()
	if w.PID == 0 || age < 1 {
		return 0
	}
	n := statsOf(w).MessagesIn
	return float64(n-min(n, w.Ended.MessagesIn)) / age
}

// statsOf reads what the worker said of itself, as far as it is understood: a
// worker may be of a newer version.
func statsOf(w master.WorkerStatus) (s worker.Stats) {
	json.Unmarshal(w.Stats, &s)
	return s
}

// width is how many characters a line may have, 0 = any: pipes have no width.
func (c *call) width() int {
	if c.flags.Bool("wide") || !isTerminal(c.out) && os.Getenv("COLUMNS") == "" {
		return 0
	}
	return screenWidth(c.out)
}

// tellStatus prints the tables of `status`.
func tellStatus(out io.Writer, program string, s *master.Status, r *rates, on screen) {
	broker := on.paint(clean(string(s.Broker.State)))
	if s.Broker.PID > 0 {
		broker = fmt.Sprintf("%d %s", s.Broker.PID, broker)
	}
	fmt.Fprintf(out, "%s %s  master %d, up %s, broker %s\n", program, clean(s.Version), s.Master.PID,
		ageText(time.Since(s.Master.Started)), broker)
	listen := newTable("GROUP", "LISTEN")
	seen := map[string]bool{}
	for _, w := range s.Workers {
		if line := strings.Join(w.Listen, ", "); !seen[w.Name+line] {
			seen[w.Name+line] = true
			listen.add(w.Name, line)
		}
	}
	fmt.Fprintln(out)
	listen.write(out)
	fmt.Fprintln(out)
	t, hidden := workerTable(s, r), 0
	t.paint = on.paint
	if on.width > 0 {
		hidden = t.fit(on.width, "TIMERS", "QUEUED", "FAILED", "LAG", "GEN", "OUT", "MEM", "UP", "DIED", "PID", "QPS")
	}
	t.write(out)
	tellHidden(out, hidden)
	if len(s.Nodes) > 0 || s.NodesUnknown != "" {
		fmt.Fprintln(out)
		tellNodes(out, s, on)
	}
	tellServices(out, s)
	tellScripts(out, s)
	tellCertificates(out, s, time.Now())
	tellDropped(out, s)
	tellGone(out, program, s)
}

// tellServices says which services of the broker process do not do all that they should.
func tellServices(out io.Writer, s *master.Status) {
	if len(s.Services) > 0 {
		fmt.Fprintln(out)
	}
	for _, state := range s.Services {
		fmt.Fprintf(out, "%s: %s\n", clean(state.Service), clean(state.Says))
	}
}

// tellDropped says where datagrams came faster than they were read.
func tellDropped(out io.Writer, s *master.Status) {
	for _, addr := range slices.Sorted(maps.Keys(s.DatagramsDropped)) {
		fmt.Fprintf(out, "%s: %s, since its readers were too slow; net.core.rmem_default is the size of its buffer\n",
			clean(addr), counted(int(s.DatagramsDropped[addr]), "datagram was dropped by the kernel", "datagrams were dropped by the kernel"))
	}
}

// tellGone says which unix sockets nobody can connect to.
func tellGone(out io.Writer, program string, s *master.Status) {
	for _, path := range s.SocketsGone {
		fmt.Fprintf(out, "%s: the file of this socket is gone, so no client can connect; `%s reload` or restart makes it anew\n", clean(path), program)
	}
}

// tellCertificates says which certificates somebody has to look after.
func tellCertificates(out io.Writer, s *master.Status, now time.Time) {
	for _, c := range s.Certificates {
		says := certs.Validity(c.NotBefore, c.NotAfter, now)
		switch {
		case c.NotAfter.IsZero():
			says = "not issued yet"
		case c.Error == "" && c.Due.After(now):
			says = "" // it is ordered again before that
		}
		if c.Error != "" {
			says = "what is new is not taken, or could not be had: " + c.Error + "; " + says
		}
		if says != "" {
			fmt.Fprintf(out, "certificate %s (%s): %s\n", clean(c.File), clean(strings.Join(c.Names, ", ")), clean(strings.TrimSuffix(says, "; ")))
		}
	}
}

// tellScripts has a line for each program that handlers run beside a worker.
func tellScripts(out io.Writer, s *master.Status) {
	t, any := newTable("SCRIPT", "WORKER", ">PID", "STATE", ">BORN", ">UP", ">MEM", ">TOLD", ">BATCHES", ">WAITING", ">HELD UP", ">LOST"), false
	for _, w := range s.Workers {
		for _, p := range statsOf(w).Scripts {
			any = true
			up := "-"
			if p.PID > 0 {
				up = ageText(time.Since(p.Started))
			}
			t.add(clean(p.Title), fmt.Sprintf("%s/%d", w.Name, w.Slot), pidText(p.PID), clean(p.State), fmt.Sprint(p.Births), up,
				bytesText(p.RSSBytes), fmt.Sprint(p.Told), fmt.Sprint(p.Batches), bytesText(int64(p.Waiting)), fmt.Sprint(p.Holds), fmt.Sprint(p.Doubts+p.Strands))
		}
	}
	if any {
		fmt.Fprintln(out)
		t.write(out)
	}
}

// workerTable has one line for each process and one for all.
func workerTable(s *master.Status, r *rates) *table {
	t := newTable("WORKER", ">PID", "STATE", ">GEN", ">UP", ">MEM", ">CONNS", ">IN", ">OUT", ">QPS", ">FAILED", ">QUEUED", ">TIMERS", ">LAG", ">DIED")
	var all worker.Stats
	var rss int64
	qps, died := 0.0, 0
	for _, w := range s.Workers {
		n, q := statsOf(w), r.of(w)
		up := "-"
		if w.PID > 0 {
			up = ageText(time.Since(w.Started))
		}
		t.add(append([]string{fmt.Sprintf("%s/%d", w.Name, w.Slot), pidText(w.PID), string(w.State), fmt.Sprint(w.Generation), up},
			statsCells(n, w.RSSBytes, q, w.Restarts)...)...)
		all.Connections += n.Connections
		all.MessagesIn += n.MessagesIn
		all.MessagesOut += n.MessagesOut
		all.SendFailures += n.SendFailures
		all.QueueBytes += n.QueueBytes
		all.Timers += n.Timers
		all.LoopLagMS = max(all.LoopLagMS, n.LoopLagMS)
		rss, qps, died = rss+w.RSSBytes, qps+q, died+w.Restarts
	}
	t.add(append([]string{"all", "", "", "", ""}, statsCells(all, rss, qps, died)...)...)
	return t
}

func statsCells(n worker.Stats, rss int64, qps float64, died int) []string {
	return []string{
		bytesText(rss), fmt.Sprint(n.Connections), countText(n.MessagesIn), countText(n.MessagesOut),
		countText(uint64(qps + 0.5)), countText(n.SendFailures), bytesText(n.QueueBytes), fmt.Sprint(n.Timers),
		fmt.Sprintf("%.0fms", n.LoopLagMS), fmt.Sprint(died),
	}
}

// userName names the user that processes run as.
func userName(name string) string {
	if name != "" {
		return name
	}
	return currentUser()
}
