package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/payload"
	"github.com/pushd/pushd/cmd/pushbench/publish"
)

func recoverCommand() *cli.Command {
	return &cli.Command{
		Name: "recover",
		Usage: "all clients of the Pusher protocol go away, miss messages, and come back within some seconds while others are sent: " +
			"first without their positions, then with them; what each got is checked",
		Flags: append(append(commonFlags(publishFlags()...),
			connectionsFlag(1000),
			&cli.IntFlag{Name: "channels", Value: 3, Usage: "how `MANY` each client subscribes to"},
			&cli.IntFlag{Name: "rooms", Value: 300, Usage: "how `MANY` channels there are; the app must keep a history of bench-*"},
			&cli.IntFlag{Name: "missed", Value: 5, Usage: "`MESSAGES` that are sent to each channel meanwhile"},
			&cli.DurationFlag{Name: "within", Value: 3 * time.Second, Usage: "how `LONG` they take to come back"},
			&cli.Float64Flag{Name: "rate", Value: 1000, Usage: "`MESSAGES` a second that are sent meanwhile, to all channels in turn"},
			&cli.IntFlag{Name: "rounds", Value: 1, Usage: "how `OFTEN` they come back each way, in turn: what the machine does beside evens out"},
			&cli.StringFlag{Name: "history", Usage: "save what everybody got to `FILE`; verify --check judges it again"},
			stallFlag(), sizeFlag(), drainFlag()), protocolFlags()[1:]...),
		Action: recoverAll,
	}
}

// senders publish at the same time, each to channels of its own. They are enough
// that a sender does not wait for its own message before while the machine is busy:
// at 1,000 a second one may take 64 ms.
const senders = 64

func recoverAll(c *cli.Context) error {
	for _, flag := range []string{"url", "api"} {
		if err := need(c, flag); err != nil {
			return err
		}
	}
	if err := checkSize(c); err != nil {
		return err
	}
	if c.Int("channels") < 1 || c.Int("channels") > c.Int("rooms") || c.Int("missed") < 1 || c.Int("rounds") < 1 {
		return fmt.Errorf("%w: --channels is from 1 to --rooms, --missed and --rounds at least 1", errUsage)
	}
	b, err := newComeback(c)
	if err != nil {
		return err
	}
	defer b.close()
	return b.measure()
}

// comeback is one run: the clients on a loop, the senders beside it.
type comeback struct {
	*cli.Context
	report  *Report
	crowd   *crowd
	run     uint32
	streams []*stream
}

// stream is the messages of one channel.
type stream struct {
	history.Stream
	sender publish.Publisher // of several streams, which one goroutine uses at a time
}

func newComeback(c *cli.Context) (*comeback, error) {
	b := &comeback{
		Context: c, run: rand.Uint32(),
		report: &Report{Pushbench: 1, Command: c.Command.Name, Label: c.String("label"), URL: c.String("url"), Started: time.Now().UTC(), Machine: machine()},
	}
	app := publish.App{ID: c.String("app-id"), Key: c.String("app-key"), Secret: c.String("app-secret")}
	var own [senders]publish.Publisher
	for i := range own {
		own[i] = publish.OpenPusher(c.String("api"), app)
	}
	names := make([]string, c.Int("rooms"))
	for i := range names {
		names[i] = fmt.Sprintf("bench-%08x-%d", b.run, i)
		b.streams = append(b.streams, &stream{history.Stream{ID: load.PublisherID(0) + uint32(i), Channel: names[i]}, own[i%senders]})
	}
	var err error
	b.crowd, err = gather(c.String("url"), b.run, names, c.Int("connections"), c.Int("channels"))
	return b, err
}

func (b *comeback) close() {
	b.crowd.loop.Stop()
	for i := range min(senders, len(b.streams)) {
		_ = b.streams[i].sender.Close()
	}
}

func (b *comeback) measure() error {
	if err := b.crowd.come(b.Duration("within"), false, b.Duration("stall")); err != nil {
		return err
	}
	plain, with := newReturns(), newReturns()
	for range b.Int("rounds") {
		if err := errors.Join(b.comesBack(plain, false), b.comesBack(with, true)); err != nil {
			return err
		}
	}
	plain.report("plain", &b.report.Numbers)
	with.report("recovery", &b.report.Numbers)
	if p99 := plain.publish.ValueAtQuantile(99); p99 > 0 {
		b.report.Numbers.Set("publish_p99_ratio", float64(with.publish.ValueAtQuantile(99))/float64(p99))
	}
	h := &history.History{Settle: history.Settle}
	for _, s := range b.streams {
		h.Streams = append(h.Streams, s.Stream)
	}
	b.crowd.settled(b.Duration("drain"), h.Streams)
	h.Readers = b.crowd.readers()
	if file := b.String("history"); file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		if err := errors.Join(h.Write(f), f.Close()); err != nil {
			return err
		}
	}
	b.report.Numbers.Set("readers", float64(len(h.Readers)))
	b.report.judge(h)
	return b.report.output(b.Context)
}

// returns are the returns of one kind.
type returns struct {
	took, beyond time.Duration // the longest: all of it, and behind the last handshake
	messages     int64
	publish      *hdrhistogram.Histogram // of those that were sent meanwhile
}

func newReturns() *returns { return &returns{publish: load.NewHistogram()} }

func (r *returns) report(name string, n *Numbers) {
	n.Set(name+"_s", r.took.Seconds())
	n.Set(name+"_beyond_handshakes_s", r.beyond.Seconds())
	n.Set(name+"_messages", float64(r.messages))
	n.percentiles(name+"_publish", r.publish)
}

// comesBack has everybody go, miss something, and come back, with or without
// positions.
func (b *comeback) comesBack(r *returns, positions bool) error {
	b.crowd.leave()
	if err := b.missed(b.Int("missed")); err != nil {
		return err
	}
	over, latency := make(chan struct{}), make(chan *hdrhistogram.Histogram, senders)
	for i := range senders {
		go func() { latency <- b.keepSending(i, over) }()
	}
	began, before := time.Now(), b.crowd.received()
	err := b.crowd.come(b.Duration("within"), positions, b.Duration("stall")+b.Duration("within"))
	took := time.Since(began)
	var beyond time.Duration
	b.crowd.loop.Do(func() { beyond = time.Since(b.crowd.shaken) })
	close(over)
	for range senders {
		r.publish.Merge(<-latency)
	}
	r.took, r.beyond = max(r.took, took), max(r.beyond, beyond)
	r.messages += b.crowd.received() - before
	return err
}

// missed sends to each channel while nobody is there.
func (b *comeback) missed(times int) error {
	errs := make(chan error, senders)
	for i := range senders {
		go func() {
			var err error
			for n := i; n < len(b.streams); n += senders {
				for range times {
					err = errors.Join(err, b.send(b.streams[n]))
				}
			}
			errs <- err
		}()
	}
	var err error
	for range senders {
		err = errors.Join(err, <-errs)
	}
	return err
}

// send sends the next message of a channel.
func (b *comeback) send(s *stream) error {
	seq := uint32(len(s.Publishes) + 1)
	p := history.Publish{Start: client.Now()}
	data := payload.Append(nil, b.run, payload.Message{Stream: s.ID, Seq: seq, Sent: p.Start}, b.Int("size"))
	_, err := s.sender.Publish(s.Channel, data)
	if p.End = client.Now(); err != nil {
		p.Failed = err.Error()
	}
	s.Publishes = append(s.Publishes, p)
	return err
}

// keepSending sends to the channels of one sender on a timetable, and measures
// each publish from when it was due.
func (b *comeback) keepSending(sender int, over chan struct{}) *hdrhistogram.Histogram {
	h := load.NewHistogram()
	if b.Float64("rate") <= 0 || sender >= len(b.streams) {
		return h
	}
	pause := int64(1e9 * senders / b.Float64("rate"))
	for n, due := sender, client.Now(); ; due += pause {
		select {
		case <-over:
			return h
		case <-time.After(time.Duration(due - client.Now())):
		}
		_ = b.send(b.streams[n]) // noted in the stream
		_ = h.RecordValue(min(client.Now()-due, h.HighestTrackableValue()))
		if n += senders; n >= len(b.streams) {
			n = sender
		}
	}
}

// aim reads a URL. On this machine connections leave from many addresses: connect(2)
// gets slow when half the ports of one are taken.
func aim(url string) (*client.Target, error) {
	target, err := client.ParseTarget(url, nil)
	if err == nil && target.Loopback() {
		target, err = client.ParseTarget(url, fleet.Sources(0))
	}
	return target, err
}

// gather makes the clients; none is connected yet.
func gather(url string, run uint32, names []string, clients, channels int) (*crowd, error) {
	join := "?"
	if strings.Contains(url, "?") {
		join = "&"
	}
	target, err := aim(url + join + "protocol=7&recover=1")
	if err != nil {
		return nil, err
	}
	loop, err := client.NewLoop()
	if err != nil {
		return nil, err
	}
	w := &crowd{loop: loop, target: target, run: run, guests: make([]guest, clients), all: make(chan struct{}, 1)}
	for i := range w.guests {
		g := &w.guests[i]
		g.of = make([]seat, channels)
		for n := range g.of {
			g.of[n].Reader = history.Reader{ID: uint32(i), Channel: names[(i*channels+n)%len(names)]}
		}
	}
	go func() { _ = loop.Run() }()
	return w, nil
}
