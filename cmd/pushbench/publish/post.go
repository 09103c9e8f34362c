package publish

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// post is a publisher that makes a request of each message, on a connection that
// stays.
type post struct {
	header  http.Header
	request func(channel string, data []byte) (url string, body []byte, err error)
	// complete reads an answer whose status is 2xx; nil: it says nothing.
	complete func(answer []byte) (bool, error)
	client   *http.Client
}

func newPost(header http.Header) *post {
	return &post{header: header, client: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}}
}

func (p *post) Publish(channel string, data []byte) (complete bool, err error) {
	url, body, err := p.request(channel, data)
	if err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header = p.header.Clone()
	answer, err := p.client.Do(r)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	switch {
	case err != nil:
	case answer.StatusCode/100 != 2:
		err = fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(text))
	case p.complete == nil:
		return true, nil
	default:
		if complete, err = p.complete(text); err == nil {
			return complete, nil
		}
		err = fmt.Errorf("%q: %w", text, err)
	}
	return false, fmt.Errorf("%s answered %w", r.URL.Path, err) // the query may be signed
}

func (p *post) Close() error {
	p.client.CloseIdleConnections()
	return nil
}
