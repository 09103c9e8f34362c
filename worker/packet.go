package worker

import (
	"errors"
	"net/netip"

	"github.com/pushd/pushd/worker/reactor"
)

// ErrNoListener: no datagrams are taken at that address.
var ErrNoListener = errors.New("no udp:// listener with that address")

// SendPacket sends a datagram to whoever, from the udp:// listener whose address
// is local, as LocalAddr or the config tells it: an answer that comes later than
// OnMessage returns. Errors: ErrNoListener, ErrQueueFull when the socket takes
// none now.
func (w *Worker) SendPacket(local string, to netip.AddrPort, p []byte) error {
	l := w.loop
	for i, at := range l.ports {
		if !at.addr.speaks.once || local != at.addr.local && local != at.addr.text {
			continue
		}
		err := l.reactor.SendTo(i, to, p)
		if err == nil {
			l.counts.messagesOut++
			return nil
		}
		l.failSend("datagram")
		if errors.Is(err, reactor.ErrFull) {
			return ErrQueueFull
		}
		return err
	}
	return ErrNoListener
}
