package publish

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// App is what an SDK for Pusher Channels is configured with.
type App struct{ ID, Key, Secret string }

// OpenPusher makes a publisher that triggers events of an app as Pusher's SDKs
// do: signed, at the base URL of its HTTP API.
func OpenPusher(base string, app App) Publisher {
	path := "/apps/" + app.ID + "/events"
	p := newPost(http.Header{"Content-Type": {"application/json"}})
	p.request = func(channel string, data []byte) (string, []byte, error) {
		body, err := json.Marshal(map[string]string{"name": "bench", "channel": channel, "data": string(data)})
		return strings.TrimSuffix(base, "/") + path + "?" + app.query(path, body, time.Now()), body, err
	}
	return p
}

// query is the signed query of a trigger. Its parameters are in the order in
// which they are signed.
func (a App) query(path string, body []byte, now time.Time) string {
	sum := md5.Sum(body)
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0&body_md5=%x", a.Key, now.Unix(), sum)
	mac := hmac.New(sha256.New, []byte(a.Secret))
	_, _ = fmt.Fprintf(mac, "%s\n%s\n%s", http.MethodPost, path, query)
	return query + "&auth_signature=" + hex.EncodeToString(mac.Sum(nil))
}
