package brokerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/worker/api"
)

func (b *serving) openListeners() error {
	metrics, err := b.secure(b.Settings.MetricsTLS, b.api.ServeMetrics)
	if err != nil {
		return err
	}
	orders, err := b.secure(b.Settings.APITLS, b.api.Serve)
	if err != nil {
		return err
	}
	stream := func(addr string, serve func(net.Listener) error) error {
		if addr == "" {
			return nil
		}
		ln, err := b.listener(addr)
		if err == nil {
			b.serve(func() error { return serve(ln) })
		}
		return err
	}
	if err := stream(b.Settings.Metrics, metrics); err != nil {
		return err
	}
	if err := stream(b.Settings.API, b.onceMet(orders)); err != nil {
		return err
	}
	for _, in := range b.Settings.Ingest {
		o := api.IngestOptions{Key: in.Key}
		if !strings.HasPrefix(in.Listen, "udp://") {
			if err := stream(in.Listen, b.onceMet(func(ln net.Listener) error { return b.api.ServeIngest(ln, o) })); err != nil {
				return err
			}
			continue
		}
		pc, err := b.packets(in.Listen)
		if err != nil {
			return err
		}
		b.serve(func() error { <-b.met; return b.api.ServeIngestPackets(pc, o) })
	}
	return nil
}

// secure makes serve speak TLS, if there are settings for it.
func (b *serving) secure(s *certs.Settings, serve func(net.Listener) error) (func(net.Listener) error, error) {
	if s == nil {
		return serve, nil
	}
	if b.Certs == nil {
		return nil, errors.New("there is no store of certificates")
	}
	set, err := b.Certs.Set(*s, "http/1.1")
	if err != nil {
		return nil, err
	}
	return func(ln net.Listener) error { return serve(api.Secure(ln, set.Config)) }, nil
}

// onceMet lets those who publish wait until the workers are on the bus: after
// the death of a broker process they come back one by one, and what is published
// before would not reach their connections.
func (b *serving) onceMet(serve func(net.Listener) error) func(net.Listener) error {
	return func(ln net.Listener) error { <-b.met; return serve(ln) }
}

// meetBound is how long publishers wait for a worker that does not come.
const meetBound = 900 * time.Millisecond

// meet waits for the workers on the first roster.
func (b *serving) meet() {
	ctx, cancel := context.WithTimeout(context.Background(), meetBound)
	defer cancel()
	b.api.Meet(ctx)
	b.openDoors()
	b.admitGuests()
}

func (b *serving) openDoors() { b.opening.Do(func() { close(b.met) }) }

func (b *serving) inherited(addr string) (*os.File, error) {
	f := b.sockets[addr]
	if f == nil {
		return nil, fmt.Errorf("the master gave no socket for %s", addr)
	}
	return f, nil
}

func (b *serving) listener(addr string) (net.Listener, error) {
	f, err := b.inherited(addr)
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileListener has a duplicate
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("use socket of %s: %w", addr, err)
	}
	return ln, nil
}

func (b *serving) packets(addr string) (net.PacketConn, error) {
	f, err := b.inherited(addr)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("use socket of %s: %w", addr, err)
	}
	return pc, nil
}
