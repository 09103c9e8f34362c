package publish

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// App is what an SDK for Pusher Channels is configured with.
type App struct{ ID, Key, Secret string }

// OpenPusher makes a publisher that triggers events of an app as Pusher's SDKs
// do: signed, at the base URL of its HTTP API.
func OpenPusher(base string, app App) Publisher {
	return &pusher{
		base: strings.TrimSuffix(base, "/"), path: "/apps/" + app.ID + "/events", app: app,
		client: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
}

type pusher struct {
	base, path string
	app        App
	client     *http.Client
}

func (p *pusher) Publish(channel string, data []byte) (complete bool, err error) {
	body, err := json.Marshal(map[string]string{"name": "bench", "channel": channel, "data": string(data)})
	if err != nil {
		return false, err
	}
	url := p.base + p.path + "?" + p.query(body, time.Now())
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := p.client.Do(r)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return false, fmt.Errorf("%s: %w", p.path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s answered %s: %s", p.path, answer.Status, strings.TrimSpace(string(text)))
	}
	return true, nil
}

// query is the signed query of a trigger. Its parameters are in the order in
// which they are signed.
func (p *pusher) query(body []byte, now time.Time) string {
	sum := md5.Sum(body)
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0&body_md5=%x", p.app.Key, now.Unix(), sum)
	mac := hmac.New(sha256.New, []byte(p.app.Secret))
	_, _ = fmt.Fprintf(mac, "%s\n%s\n%s", http.MethodPost, p.path, query)
	return query + "&auth_signature=" + hex.EncodeToString(mac.Sum(nil))
}

func (p *pusher) Close() error {
	p.client.CloseIdleConnections()
	return nil
}
