package brokerd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/api"
)

// Bounds of the hand-over between broker processes.
const (
	partMax      = 64 << 10    // bytes of a connection's prefix in one message
	carrySend    = time.Second // for the other process to read one
	carryReceive = 5 * time.Second
)

// export sends the clients' connections through f.
func (b *serving) export(ctx context.Context, f *os.File) error {
	to, err := control.Open(f)
	if err != nil {
		return err
	}
	defer to.Close()
	b.api.Export(ctx, func(c api.Carried) {
		defer c.File.Close()
		if sent := sendCarried(to, c); sent != nil && err == nil {
			err = sent
		}
	})
	return err
}

func sendCarried(to *control.Conn, c api.Carried) error {
	files := []*os.File{c.File}
	for {
		part := c.Prefix[:min(len(c.Prefix), partMax)]
		c.Prefix = c.Prefix[len(part):]
		_ = to.SetWriteDeadline(time.Now().Add(carrySend))
		err := to.Send(control.TypeCarried, 0, control.Carried{Door: c.Door, TLS: c.TLS, Prefix: part, More: len(c.Prefix) > 0}, files...)
		if err != nil || len(c.Prefix) == 0 {
			return err
		}
		files = nil
	}
}

// receive collects the connections that come through f until its other end is
// closed.
func (b *serving) receive(f *os.File) error {
	from, err := control.Open(f)
	if err != nil {
		return err
	}
	b.guests = make(chan []api.Carried, 1)
	go func() {
		defer from.Close()
		var all []api.Carried
		err := receiveCarried(from, &all)
		if !errors.Is(err, io.EOF) {
			b.Log.Error("connections of the process before not received", "received", len(all), "error", err)
		}
		came := len(all)
		all = slices.DeleteFunc(all, func(c api.Carried) bool { return c.File == nil })
		if lost := came - len(all); lost > 0 {
			b.Log.Error("connections of the process before are closed: this process is out of descriptors", "closed", lost)
		}
		b.guests <- all
	}()
	return nil
}

// receiveCarried appends the connections that come to all. One for which this
// process has no descriptor left comes without a file.
func receiveCarried(from *control.Conn, all *[]api.Carried) error {
	more := false
	for {
		m, files, err := from.Receive()
		cut := errors.Is(err, control.ErrCut)
		if err != nil && !cut {
			return err
		}
		var part control.Carried
		if err := json.Unmarshal(m.Body, &part); err != nil || more != (len(files) == 0 && !cut) || len(files) > 1 {
			for _, f := range files {
				f.Close()
			}
			return errors.Join(errors.New("malformed message about a connection"), err)
		}
		if !more {
			c := api.Carried{Door: part.Door, TLS: part.TLS}
			if len(files) == 1 {
				c.File = files[0]
			}
			*all = append(*all, c)
		}
		last := &(*all)[len(*all)-1]
		last.Prefix = append(last.Prefix, part.Prefix...)
		more = part.More
	}
}

// admitGuests serves what was received, once there are doors for it.
func (b *serving) admitGuests() {
	if b.guests == nil {
		return
	}
	select {
	case all := <-b.guests:
		for _, c := range all {
			if err := b.api.Import(c); err != nil {
				b.Log.Warn("connection of the process before not served", "error", err)
			}
		}
	case <-time.After(carryReceive):
		b.Log.Error("connections of the process before do not come to an end")
	}
}
