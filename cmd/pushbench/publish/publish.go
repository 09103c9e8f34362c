// Package publish hands messages to a pushd server as a back end would:
// through the HTTP API or through an ingest port.
package publish

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// timeout is how long one publish may take.
const timeout = 5 * time.Second

// Publisher sends messages to channels. It is for one goroutine.
type Publisher interface {
	// Publish returns once the server has taken the message, or, where the way
	// there has no answer, once it was sent. After an error the message may or
	// may not have been taken. Complete is false when the server says that it
	// could not count all receivers in time, which loses nothing.
	Publish(channel string, data []byte) (complete bool, err error)
	Close() error
}

// Open makes a publisher for the address: http://… is an API's base URL,
// udp://host:port and tcp://host:port are ingest ports. The key may be "".
func Open(address, key string) (Publisher, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("publish address: %w", err)
	}
	switch u.Scheme {
	case "http":
		return openAPI(strings.TrimSuffix(address, "/")+"/v1/publish", key), nil
	case "udp", "tcp":
		conn, err := net.DialTimeout(u.Scheme, u.Host, timeout)
		if err != nil {
			return nil, fmt.Errorf("ingest port: %w", err)
		}
		return &ingest{conn: conn, key: key}, nil
	}
	return nil, fmt.Errorf("publish address %q: want http://, udp:// or tcp://", address)
}

type request struct {
	Key     string `json:"key,omitempty"`
	Channel string `json:"channel"`
	Data    string `json:"data"`
}

func openAPI(url, key string) *post {
	header := http.Header{"Content-Type": {"application/json"}}
	if key != "" {
		header.Set("Authorization", "Bearer "+key)
	}
	p := newPost(header)
	p.request = func(channel string, data []byte) (string, []byte, error) {
		body, err := json.Marshal(request{Channel: channel, Data: string(data)})
		return url, body, err
	}
	p.complete = func(answer []byte) (bool, error) {
		said := struct {
			Complete bool `json:"complete"`
		}{Complete: true}
		err := json.Unmarshal(answer, &said)
		return said.Complete, err
	}
	return p
}

type ingest struct {
	conn net.Conn
	key  string
}

func (i *ingest) Publish(channel string, data []byte) (complete bool, err error) {
	line, err := json.Marshal(request{Key: i.key, Channel: channel, Data: string(data)})
	if err != nil {
		return false, err
	}
	if err := i.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return false, err
	}
	_, err = i.conn.Write(append(line, '\n'))
	return err == nil, err
}

func (i *ingest) Close() error { return i.conn.Close() }
