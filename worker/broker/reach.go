package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker/nodes"
)

// What NATS may lack, or refuse, so that a start fails. Other reasons are of the network.
var (
	ErrNoJetStream = errors.New("this NATS has no JetStream: enable it there, or set [history] store to another")
	ErrRights      = errors.New("the user of NATS needs the rights")
	ErrNameTaken   = errors.New("another pushd on this NATS is the node")
	ErrCA          = errors.New("[broker] tls: ca")
)

// Reach says why a client of o could not start, or would be refused what it publishes, or
// what else is asked; nil if nothing is in the way.
func Reach(o Options, also ...func(*Client) error) error {
	c, err := NewClient(o)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Start(nil); err != nil {
		return err
	}
	for _, ask := range append([]func(*Client) error{mayPublish}, also...) {
		if err := ask(c); err != nil {
			return err
		}
	}
	return nil
}

// mayPublish publishes what nobody subscribes to.
func mayPublish(c *Client) error {
	if err := c.link.nc.Publish(c.subjects.prefix+".probe", nil); err != nil {
		return err
	}
	return c.link.confirmed(c.o.StartTimeout)
}

// HasLog fails if JetStream is known not to be there, as OpenLog does.
func HasLog(c *Client) error {
	js, err := jetstream.New(c.link.nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.o.StartTimeout)
	defer cancel()
	return lacksJetStream(ctx, js)
}

// lacksJetStream fails if JetStream is known not to be there. No answer may mean that its
// servers are on their way.
func lacksJetStream(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return ErrNoJetStream
	}
	return nil
}

// NameIsFree fails if a node of this name says that it lives, in the time in which two
// signs of it come.
func NameIsFree(c *Client) error {
	heard := make(chan struct{}, 1)
	sub, err := c.link.nc.Subscribe(c.subjects.nodes, func(m *nats.Msg) {
		var s nodes.Sign
		if json.Unmarshal(m.Data, &s) != nil || s.Node != c.o.Node || s.State == nodes.Leaving {
			return
		}
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	select {
	case <-heard:
		return nameTaken(c.o.Node)
	case <-time.After(nodes.Beat * 5 / 2):
		return nil
	}
}

func nameTaken(node string) error {
	return fmt.Errorf("%w %q: give each its own name by [cluster] node", ErrNameTaken, node)
}
