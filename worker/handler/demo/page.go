package demo

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/pushd/pushd/worker"
)

// The parts of the page.
var (
	//go:embed page/index.html
	document string
	//go:embed page/style.css
	style string
	//go:embed page/app.js
	script string
)

// page is one document with style and script inside, so that the handler needs
// no route but its own.
type page struct {
	body   []byte
	etag   string
	policy string // Content-Security-Policy: this script and style, by hash, and nothing else
}

// settings is what the script has to know of the server.
type settings struct {
	Chat    string `json:"chat"`
	Notify  string `json:"notify"`
	Channel string `json:"channel"`
	Curl    string `json:"curl"` // beginning of a command, up to the path
	Key     string `json:"key"`  // shell word that yields the API's key
}

func newPage(o *Options) (*page, error) {
	set, err := json.Marshal(settings{Chat: o.Chat, Notify: o.Notify, Channel: o.Channel, Curl: curl(o.API), Key: key(o.KeyFile)})
	if err != nil {
		return nil, fmt.Errorf("encode options for the page: %w", err)
	}
	body := strings.NewReplacer(
		"{{style}}", style,
		"{{script}}", script,
		"{{settings}}", string(set), // JSON as Go writes it has no < that could end the element
	).Replace(document)
	return &page{
		body: []byte(body),
		etag: `"` + hash(body) + `"`,
		policy: strings.Join([]string{
			"default-src 'none'",
			"script-src 'sha256-" + hash(script) + "'",
			"style-src 'sha256-" + hash(style) + "'",
			"img-src data:",
			"connect-src 'self'",
			"base-uri 'none'",
			"form-action 'none'",
			"frame-ancestors 'none'",
		}, "; "),
	}, nil
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// curl is how a terminal reaches the API.
func curl(api string) string {
	if path, ok := strings.CutPrefix(api, "unix://"); ok {
		return "curl --unix-socket " + quote(path) + " http://localhost"
	}
	return "curl " + quote(strings.TrimSuffix(api, "/"))
}

// key is the part of a command, inside double quotes, that yields the key.
func key(file string) string {
	if file == "" {
		return "$PUSHD_API_KEY"
	}
	return "$(cat " + quote(file) + ")"
}

// quote makes s one word of a shell, as it is where it can be.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// serve answers GET and HEAD. Browsers keep the page but ask each time whether
// it is still the same, so that a new pushd shows its own.
func (p *page) serve(w *worker.Response, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", p.etag)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer")
	if fresh(r.Header.Values("If-None-Match"), p.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(p.body) // fails when the client is gone
}

// fresh reports whether the client has the version named etag.
func fresh(have []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(have, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
