// Package demo is the handler "demo": the page that a newcomer opens first. Its
// route serves the page to a browser's GET and, when the page comes back with a
// WebSocket, feeds it the counters of all worker processes.
//
// The chat and the pushes on the page are not its own: they use the routes of
// the handlers chat and notify.
package demo

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pushd/pushd/worker"
)

func init() { worker.RegisterHandler("demo", New) }

// Options of the route. The page is for everyone who can reach the route: what
// stands here is shown on it.
type Options struct {
	Chat    string `json:"chat"`     // route of a chat; default "/chat"
	Notify  string `json:"notify"`   // route of a notify that lets everyone in; default "/notify"
	Channel string `json:"channel"`  // that notify joins and the commands publish to; default "news"
	API     string `json:"api"`      // "http://host:port" or "unix:///path"; default "http://127.0.0.1:2347"
	KeyFile string `json:"key_file"` // file with the API's key, named in the commands; "" = they use $PUSHD_API_KEY
}

// Handler is the page and its feed.
type Handler struct {
	page *page
	feed feed
}

// New makes a page of its options.
func New(o worker.Options) (worker.Handler, error) {
	opt := Options{Chat: "/chat", Notify: "/notify", Channel: "news", API: "http://127.0.0.1:2347"}
	if err := o.Decode(&opt); err != nil {
		return nil, err
	}
	if err := opt.check(); err != nil {
		return nil, err
	}
	p, err := newPage(&opt)
	if err != nil {
		return nil, err
	}
	return &Handler{page: p}, nil
}

func (o *Options) check() error {
	for name, path := range map[string]string{"chat": o.Chat, "notify": o.Notify} {
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
			return fmt.Errorf("options: %s = %q: a path begins with one /", name, path)
		}
	}
	if o.Channel == "" {
		return errors.New(`options: channel is empty: name one that notify joins, as in "news"`)
	}
	u, err := url.Parse(o.API)
	if err != nil || !(u.Scheme == "unix" && u.Path != "" || (u.Scheme == "http" || u.Scheme == "https") && u.Host != "") || u.User != nil {
		return errors.New(`options: api: write "http://host:port" or "unix:///path"`)
	}
	return nil
}

// OnWorkerStart keeps the worker whose processes are counted.
func (h *Handler) OnWorkerStart(w *worker.Worker) error {
	h.feed.w = w
	return nil
}

// OnRequest serves the page.
func (h *Handler) OnRequest(w *worker.Response, r *worker.Request) { h.page.serve(w, r.Request) }

// OnConnect begins to feed a page that is open.
func (h *Handler) OnConnect(c *worker.Conn) { h.feed.add(c) }

// OnResume goes on feeding.
func (h *Handler) OnResume(c *worker.Conn) { h.feed.add(c) }

// OnClose stops.
func (h *Handler) OnClose(c *worker.Conn, _ error) { h.feed.remove(c) }
