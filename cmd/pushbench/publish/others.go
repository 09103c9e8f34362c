package publish

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// OpenCentrifugo makes a publisher for the HTTP API of Centrifugo at a base URL.
func OpenCentrifugo(base, key string) Publisher {
	url := strings.TrimSuffix(base, "/") + "/api/publish"
	p := newPost(http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {key}})
	p.request = func(channel string, data []byte) (string, []byte, error) {
		body, err := json.Marshal(request{Channel: channel, Data: string(data)})
		return url, body, err
	}
	p.complete = func(answer []byte) (bool, error) {
		var said struct{ Error json.RawMessage }
		err := json.Unmarshal(answer, &said)
		if err == nil && said.Error != nil {
			err = errors.New("refused")
		}
		return true, err
	}
	return p
}

// OpenNchan makes a publisher for a location of nchan, whose URL says the channel:
// the message is the body.
func OpenNchan(url string) Publisher {
	p := newPost(http.Header{"Content-Type": {"text/plain"}})
	p.request = func(_ string, data []byte) (string, []byte, error) { return url, data, nil }
	return p
}
