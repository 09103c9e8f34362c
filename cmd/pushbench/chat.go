package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// chatSender publishes as a client does: what it sends on its connection goes
// to everyone else in the room. It has a loop of its own and keeps the record
// of its session, since nothing may come back.
type chatSender struct {
	loop    *client.Loop
	conn    *client.Conn
	open    chan error    // the outcome of the handshake
	ended   chan struct{} // Run has returned
	session history.Session
}

func newChatSender(url, origin string, id uint32, channel string) (*chatSender, error) {
	target, err := client.ParseTarget(url, nil)
	if err != nil {
		return nil, err
	}
	target.Origin = origin
	loop, err := client.NewLoop()
	if err != nil {
		return nil, err
	}
	s := &chatSender{
		loop:    loop,
		open:    make(chan error, 1),
		ended:   make(chan struct{}),
		session: history.Session{ID: id, Role: history.Member, Channel: channel},
	}
	loop.Post(func() { s.conn = loop.Dial(target, s, 0) })
	go func() {
		defer close(s.ended)
		_ = loop.Run()
	}()
	select {
	case err = <-s.open:
	case <-time.After(client.HandshakeTimeout):
		err = client.ErrTimeout
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("publishing connection: %w", err)
	}
	return s, nil
}

// Publish queues the message on the connection; the channel is the room's.
func (s *chatSender) Publish(_ string, data []byte) (bool, error) {
	sent := make(chan bool, 1)
	s.loop.Post(func() {
		sent <- s.conn.Open()
		s.loop.Send(s.conn, client.Text, data)
	})
	select {
	case ok := <-sent:
		if ok {
			return true, nil
		}
	case <-s.ended:
	}
	return false, errors.New("the publishing connection is closed")
}

// Close ends the connection; afterwards the session may be read.
func (s *chatSender) Close() error {
	s.loop.Stop()
	<-s.ended
	return nil
}

func (s *chatSender) Opened(*client.Conn) {
	s.session.Opened = client.Now()
	s.open <- nil
}

func (s *chatSender) Message(_ *client.Conn, _ client.Opcode, data []byte) {
	s.session.Damaged(data)
}

func (s *chatSender) Closed(_ *client.Conn, err error) {
	if err == nil {
		return
	}
	s.session.Closed, s.session.Cause = client.Now(), err.Error()
	if s.session.Opened == 0 {
		s.open <- err
	}
}
