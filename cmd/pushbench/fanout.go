package main

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/payload"
	"github.com/pushd/pushd/cmd/pushbench/publish"
)

func fanoutCommand() *cli.Command {
	return &cli.Command{
		Name:  "fanout",
		Usage: "one message to many receivers, through a client (default), the HTTP API or an ingest port",
		Flags: append(commonFlags(append(publishFlags(),
			connectionsFlag(10_000),
			&cli.StringFlag{Name: "channel", Value: "chat:bench", Usage: "`NAME` of the receivers' channel, for --api; {room} in --url becomes what follows its last colon"},
			&cli.IntFlag{Name: "messages", Aliases: []string{"m"}, Value: 100, Usage: "how `MANY`"},
			&cli.Float64Flag{Name: "rate", Usage: "`MESSAGES` per second on a timetable; 0: --ahead decides"},
			&cli.IntFlag{Name: "ahead", Value: 2, Usage: "messages on their `WAY` at a time; 1 measures each alone"},
			stallFlag(),
			sizeFlag(), drainFlag())...), protocolFlags()...),
		Action: fanout,
	}
}

func fanout(c *cli.Context) error {
	if err := checkSize(c); err != nil {
		return err
	}
	channel := c.String("channel")
	l := spec(c, load.Members)
	l.Connections = c.Int("connections")
	l.Rooms = []string{channel[strings.LastIndexByte(channel, ':')+1:]}
	l.Prefix = strings.TrimSuffix(channel, l.Rooms[0])
	l.Watch = load.PublisherID(0)
	if err := speak(c, &l, channel, 0); err != nil {
		return err
	}
	if protocol := c.String("protocol"); protocol != "" && c.String("api") == "" {
		return fmt.Errorf("%w: --protocol %s needs --api, its HTTP API", errUsage, protocol)
	}
	b, err := begin(c, l)
	if err != nil {
		return err
	}
	defer b.close()
	f := newFan(b, channel)
	if err := b.opened(); err != nil {
		return err
	}
	b.history.Settle = 0
	if err := f.open(strings.ReplaceAll(l.URL, "{room}", l.Rooms[0])); err != nil {
		return err
	}
	defer func() { _ = f.publisher.Close() }()
	return f.measure()
}

// joining is what a server gets to make its last member known everywhere.
const joining = time.Second

// fan publishes one stream and follows it to the last receiver.
type fan struct {
	*bench
	publisher publish.Publisher
	channel   string
	stream    history.Stream
	free      chan struct{} // holds a token per message that is on its way
	all       chan struct{} // gets a token when message number final has been seen
	final     atomic.Uint32
	due       []int64 // when each message was to be published
	partial   int     // publishes whose receivers the server could not count in time
}

func newFan(b *bench, channel string) *fan {
	f := &fan{
		bench: b, channel: channel, stream: history.Stream{ID: load.PublisherID(0), Channel: channel},
		free: make(chan struct{}, max(b.Int("ahead"), 1)), all: make(chan struct{}, 1),
	}
	b.OnSeen = f.seen
	return f
}

// open makes the publisher. A receiver counts from its handshake on, once the
// server's processes have told each other; after that not one message may be
// missing.
func (f *fan) open(url string) (err error) {
	if err := f.sleep(joining); err != nil {
		return err
	}
	if f.String("api") == "" {
		f.publisher, err = newChatSender(url, f.String("origin"), load.PublisherID(0), f.channel)
		return err
	}
	f.publisher, err = openPublisher(f.Context)
	return err
}

// seen runs on an agent's reader.
func (f *fan) seen(seq uint32) {
	select {
	case <-f.free:
	default:
	}
	if seq == f.final.Load() {
		f.all <- struct{}{}
	}
}

func (f *fan) measure() error {
	before, after, _, err := f.measured("fanning out", func() error {
		if err := f.send(f.Int("messages")); err != nil {
			f.report.problem("%v", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r, err := f.collect()
	if err != nil {
		return err
	}
	f.history.Streams = append(f.history.Streams, f.stream)
	if sender, ok := f.publisher.(*chatSender); ok {
		_ = sender.Close()
		f.history.Sessions = append(f.history.Sessions, sender.session)
	}
	f.report.Numbers.Set("connections", float64(r.Counters.Open()))
	f.numbers(r)
	f.spent(before, after, r.Counters.Received, "delivery")
	if r.Counters.Received > 0 {
		f.report.Numbers.Set("client_cpu_us_per_delivery", float64(r.CPU.Microseconds())/float64(r.Counters.Received))
	}
	return f.finish(r)
}

// send publishes n messages and waits for the last receiver of the last of
// them. It fails when nothing moves for --stall.
func (f *fan) send(n int) error {
	if n == 0 {
		return nil
	}
	sent := len(f.stream.Publishes)
	f.final.Store(uint32(sent + n))
	rate, start := f.Float64("rate"), client.Now()
	for i := range n {
		due := client.Now()
		if rate > 0 {
			due = start + int64(float64(i)*1e9/rate)
			if err := f.sleepUntil(due); err != nil {
				return err
			}
		} else if err := f.wait(f.free, fmt.Sprintf("message %d", i)); err != nil {
			return err
		}
		if err := f.publish(uint32(sent+i+1), due); err != nil {
			return fmt.Errorf("publish message %d: %w", i, err)
		}
	}
	select {
	case <-f.all:
		return nil
	case <-time.After(f.Duration("stall")):
		return fmt.Errorf("the last message did not reach everyone within %s", f.Duration("stall"))
	case <-f.Context.Done():
		return errors.New("interrupted")
	}
}

// wait takes a place among the messages on their way.
func (f *fan) wait(places chan<- struct{}, what string) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-time.After(f.Duration("stall")):
		return fmt.Errorf("nothing moved for %s: %s did not reach everyone", f.Duration("stall"), what)
	case <-f.Context.Done():
		return errors.New("interrupted")
	}
}

func (f *fan) publish(seq uint32, due int64) error {
	data := payload.Append(nil, f.run(), payload.Message{Stream: f.stream.ID, Seq: seq, Sent: due}, f.Int("size"))
	p := history.Publish{Start: client.Now()}
	complete, err := f.publisher.Publish(f.channel, data)
	p.End = client.Now()
	if err != nil {
		p.Failed = err.Error()
	} else if !complete {
		f.partial++
	}
	f.stream.Publishes = append(f.stream.Publishes, p)
	f.due = append(f.due, due)
	return err
}

// numbers adds how fast the messages reached their receivers. Each counts from
// when it was due, so that one which had to wait for its turn is as late as it is.
func (f *fan) numbers(r *fleet.Report) {
	n := &f.report.Numbers
	n.Set("messages", float64(len(f.stream.Publishes)))
	n.Set("deliveries", float64(r.Counters.Received))
	n.Set("incomplete_answers", float64(f.partial))
	last := load.NewHistogram()
	var end int64
	for i, at := range r.Last {
		if at > 0 && i < len(f.stream.Publishes) {
			_ = last.RecordValue(min(max(at-f.due[i], 0), last.HighestTrackableValue()))
			end = max(end, at)
		}
	}
	if end > 0 {
		seconds := float64(end-f.stream.Publishes[0].Start) / 1e9
		n.Set("seconds", seconds)
		n.Set("deliveries_per_s", float64(r.Counters.Received)/seconds)
	}
	n.percentiles("last_receiver", last)
	n.percentiles("delivery", r.Latency["delivery"])
}

var _ publish.Publisher = (*chatSender)(nil)
