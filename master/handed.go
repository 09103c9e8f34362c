package master

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// A restart keeps the listening sockets: the command that restarts gets them
// from the old master, binds what the new plan has beside them, stops the old
// master and hands all of them to the new one. Clients that come meanwhile wait
// in the accept queue.

// Socket is a listening socket that a process has got from another one.
type Socket struct {
	Network string `json:"network"` // of the endpoint: "tcp", "udp" or "unix"
	Address string `json:"address"`
	Bound   string `json:"bound"` // Address with the port that the kernel chose, if it did
	FD      int    `json:"fd"`
}

func (s Socket) endpoint() endpoint { return endpoint{s.Network, s.Address} }

// socketsMax is how many descriptors the kernel passes on at once.
const socketsMax = 253

// Sockets returns duplicates of the master's listening sockets. A master of
// another user gives none.
func (c *Client) Sockets(ctx context.Context) ([]Socket, error) {
	uc, ok := c.conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("sockets: the connection to the master is a %T", c.conn)
	}
	line, err := json.Marshal(request{Version: wireVersion, Op: "sockets"})
	if err != nil {
		return nil, err
	}
	_ = uc.SetDeadline(time.Now().Add(answerBound))
	defer context.AfterFunc(ctx, func() { _ = uc.SetDeadline(time.Now()) })()
	if _, err := uc.Write(append(line, '\n')); err != nil {
		return nil, c.failed(ctx, "sockets", err)
	}
	text, fds, err := readWithFDs(uc)
	list, err := namedSockets(text, fds, err)
	if err != nil {
		for _, fd := range fds {
			syscall.Close(fd)
		}
		return nil, c.failed(ctx, "sockets", err)
	}
	return list, nil
}

// readWithFDs reads one line and the descriptors that came along.
func readWithFDs(uc *net.UnixConn) (text []byte, fds []int, err error) {
	buf, oob := make([]byte, 64<<10), make([]byte, syscall.CmsgSpace(socketsMax*4))
	for !bytes.HasSuffix(text, []byte("\n")) {
		n, k, flags, _, err := uc.ReadMsgUnix(buf, oob)
		if err != nil {
			return text, fds, err
		}
		text = append(text, buf[:n]...)
		messages, err := syscall.ParseSocketControlMessage(oob[:k])
		if err != nil {
			return text, fds, err
		}
		for i := range messages {
			got, err := syscall.ParseUnixRights(&messages[i])
			if err != nil {
				return text, fds, err
			}
			for _, fd := range got {
				syscall.CloseOnExec(fd)
			}
			fds = append(fds, got...)
		}
		if flags&syscall.MSG_CTRUNC != 0 {
			return text, fds, errors.New("sockets were cut off: this process is out of descriptors (ulimit -n)")
		}
		if n == 0 || len(text) > answerMax {
			return text, fds, errors.New("the answer is no line")
		}
	}
	return text, fds, nil
}

// namedSockets gives the descriptors to the sockets that the answer names.
func namedSockets(text []byte, fds []int, err error) (list []Socket, _ error) {
	var a answer
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err == nil {
		err = json.Unmarshal(a.Data, &list)
	}
	if err == nil && len(list) != len(fds) {
		err = fmt.Errorf("%d sockets came with %d descriptors", len(list), len(fds))
	}
	for i := range list {
		if err == nil {
			list[i].FD = fds[i]
		}
	}
	return list, err
}

// sockets sends the listening sockets, to those who could bind them themselves.
func (s *server) sockets(t *talk) bool {
	refuse := func(err error) bool { return t.say(answer{Done: true, Error: err.Error()}) }
	uid, _, err := peerOf(t.UnixConn)
	if err != nil {
		return refuse(err)
	}
	if uid != 0 && int(uid) != os.Geteuid() {
		return refuse(fmt.Errorf("the listening sockets are for root and user %d only", os.Geteuid()))
	}
	var list []Socket
	var fds []int
	defer func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}()
	s.m.do(func() {
		for _, l := range s.m.listeners {
			fd, e := dupAbove(l.fd, 3)
			if e != nil {
				err = fmt.Errorf("duplicate %s: %w", l.endpoint.address, e)
				return
			}
			fds = append(fds, fd)
			list = append(list, Socket{Network: l.endpoint.network, Address: l.endpoint.address, Bound: l.bound})
		}
	})
	if err == nil && len(list) > socketsMax {
		err = fmt.Errorf("%d sockets are more than the %d that can be handed over", len(list), socketsMax)
	}
	if err != nil {
		return refuse(err)
	}
	data, err := json.Marshal(list)
	if err != nil {
		return refuse(err)
	}
	line, err := json.Marshal(answer{Done: true, Data: data})
	if err != nil {
		return refuse(err)
	}
	return t.sayWith(append(line, '\n'), fds)
}

// sayWith writes a line, with descriptors if there are any.
func (t *talk) sayWith(line []byte, fds []int) bool {
	_ = t.SetWriteDeadline(time.Now().Add(answerBound))
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	n, _, err := t.WriteMsgUnix(line, rights, nil)
	if err == nil && n < len(line) {
		_, err = t.Write(line[n:])
	}
	return err == nil
}

// DropSockets closes them and removes the names of unix sockets.
func DropSockets(list []Socket) {
	for _, s := range list {
		(&listener{endpoint: s.endpoint(), fd: s.FD}).close()
	}
}

// Reserve returns the sockets of p: those of have that it asks for, and the
// others, which it binds; the rest of have is surplus. An address that only one
// of the surplus keeps from being bound is left to the start. On failure
// nothing new stays bound.
func Reserve(ctx context.Context, p *Plan, have []Socket) (reserved, surplus []Socket, err error) {
	surplus = slices.Clone(have)
	var kept, fresh []Socket
	var missing []Listener
	for _, l := range p.Listeners {
		e, err := endpointOf(l.Address)
		if err != nil {
			return nil, have, err
		}
		i := slices.IndexFunc(surplus, func(s Socket) bool { return s.endpoint() == e })
		if i >= 0 && e.lost() {
			surplus[i].Network, i = nameless, -1 // its name is about to be another's
		}
		if i >= 0 {
			kept = append(kept, surplus[i])
			surplus = slices.Delete(surplus, i, i+1)
		} else {
			missing = append(missing, l)
		}
	}
	for _, l := range missing {
		e, _ := endpointOf(l.Address) // has been read above
		s, err := bind(ctx, l, 0)
		if errors.Is(err, syscall.EADDRINUSE) && slices.ContainsFunc(surplus, func(o Socket) bool { return samePort(o.endpoint(), e) }) {
			continue
		}
		if err != nil {
			DropSockets(fresh)
			return nil, have, err
		}
		fresh = append(fresh, Socket{Network: e.network, Address: e.address, Bound: s.bound, FD: s.fd})
	}
	return append(kept, fresh...), surplus, nil
}

func samePort(a, b endpoint) bool {
	_, p, errA := net.SplitHostPort(a.address)
	_, q, errB := net.SplitHostPort(b.address)
	return a.network == b.network && p == q && errA == nil && errB == nil
}

// given are the sockets that the master was started with.
func (m *master) given() map[endpoint]*listener {
	sockets := map[endpoint]*listener{}
	for _, s := range m.o.Sockets {
		_ = syscall.SetNonblock(s.FD, true) // on its way it may have lost that
		sockets[s.endpoint()] = &listener{endpoint: s.endpoint(), bound: s.Bound, fd: s.FD}
	}
	return sockets
}
