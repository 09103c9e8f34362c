// Package publish hands messages to a pushd server as a back end would:
// through the HTTP API or through an ingest port.
package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
		return &api{
			url:    strings.TrimSuffix(address, "/") + "/v1/publish",
			key:    key,
			client: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
		}, nil
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

type api struct {
	url, key string
	client   *http.Client
}

func (a *api) Publish(channel string, data []byte) (complete bool, err error) {
	body, err := json.Marshal(request{Channel: channel, Data: string(data)})
	if err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	if a.key != "" {
		r.Header.Set("Authorization", "Bearer "+a.key)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return false, fmt.Errorf("%s: %w", a.url, err)
	}
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s answered %s: %s", a.url, answer.Status, strings.TrimSpace(string(text)))
	}
	said := struct {
		Complete bool `json:"complete"`
	}{Complete: true}
	if err := json.Unmarshal(text, &said); err != nil {
		return false, fmt.Errorf("%s answered %q: %w", a.url, text, err)
	}
	return said.Complete, nil
}

func (a *api) Close() error {
	a.client.CloseIdleConnections()
	return nil
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
