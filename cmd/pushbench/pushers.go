package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/payload"
	"github.com/pushd/pushd/cmd/pushbench/publish"
)

// pushers publish on a timetable through the API, each to every channel in
// turn and each one message after the other, which is what its order means.
type pushers struct {
	all        []*pusher
	quit       chan struct{}
	once       sync.Once
	running    sync.WaitGroup
	incomplete atomic.Int64
}

// pusher is one publisher with a stream per channel. It belongs to its
// goroutine until that has ended.
type pusher struct {
	publish.Publisher
	run      uint32
	size     int
	interval time.Duration
	streams  []history.Stream
	buffer   []byte
}

// newPushers makes them, or none without --api.
func newPushers(b *bench) (*pushers, error) {
	p := &pushers{quit: make(chan struct{})}
	rate, n, names := b.Float64("publish-rate"), b.Int("publishers"), rooms(b.Context)
	if b.String("api") == "" || rate <= 0 || n <= 0 || len(names) == 0 {
		return p, nil
	}
	for i := range n {
		publisher, err := publish.Open(b.String("api"), b.String("key"))
		if err != nil {
			p.stop()
			return nil, err
		}
		one := &pusher{
			Publisher: publisher,
			run:       b.run(),
			size:      b.Int("size"),
			interval:  time.Duration(float64(n) * 1e9 / rate),
		}
		for k, room := range names {
			one.streams = append(one.streams, history.Stream{ID: load.PublisherID(i*len(names) + k), Channel: b.String("prefix") + room})
		}
		p.all = append(p.all, one)
	}
	return p, nil
}

func (p *pushers) start() {
	for _, one := range p.all {
		p.running.Go(func() { one.push(p.quit, &p.incomplete) })
	}
}

// push publishes until quit is closed. A late answer delays the next message
// but not the time from which its latency counts.
func (p *pusher) push(quit <-chan struct{}, incomplete *atomic.Int64) {
	start := client.Now()
	for i := 0; ; i++ {
		due := start + int64(i)*int64(p.interval)
		select {
		case <-quit:
			return
		case <-time.After(time.Duration(due - client.Now())):
		}
		if !p.one(&p.streams[i%len(p.streams)], due) {
			incomplete.Add(1)
		}
	}
}

// one publishes the next message of a stream and says whether the server
// counted its receivers completely.
func (p *pusher) one(s *history.Stream, due int64) (complete bool) {
	m := payload.Message{Stream: s.ID, Seq: uint32(len(s.Publishes) + 1), Sent: due}
	p.buffer = payload.Append(p.buffer[:0], p.run, m, p.size)
	record := history.Publish{Start: client.Now()}
	complete, err := p.Publish(s.Channel, p.buffer)
	record.End = client.Now()
	if err != nil {
		record.Failed = err.Error()
	}
	s.Publishes = append(s.Publishes, record)
	return complete || err != nil
}

// stop ends the publishers and waits for the answers to what they have sent.
func (p *pushers) stop() {
	p.once.Do(func() {
		close(p.quit)
		p.running.Wait()
		for _, one := range p.all {
			_ = one.Close()
		}
	})
}

// streams is everything that was published. Call it after stop.
func (p *pushers) streams() (all []history.Stream) {
	for _, one := range p.all {
		all = append(all, one.streams...)
	}
	return all
}

func (p *pushers) count() (n int) {
	for _, s := range p.streams() {
		n += len(s.Publishes)
	}
	return n
}
