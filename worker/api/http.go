package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"

	prothttp "github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/worker/order"
)

// endpoint answers one path. Its error is a *problem or comes from the bus.
type endpoint struct {
	method string
	serve  func(ctx context.Context, r *http.Request) (any, error)
}

// handler is the HTTP API. Order matters: nothing but /healthz is said to, or
// read from, a client without the key.
func (s *Server) handler() http.Handler {
	endpoints := map[string]endpoint{
		"/":               {http.MethodGet, s.hello},
		"/v1/batch":       {http.MethodPost, s.batch},
		"/v1/connections": {http.MethodGet, s.connections},
		"/v1/channels":    {http.MethodGet, s.channels},
		"/v1/online":      {http.MethodPost, s.online},
		"/v1/stats":       {http.MethodGet, s.stats},
		"/v1/history":     {http.MethodGet, s.readHistory},
		// Beside GET:
		http.MethodDelete + " /v1/history": {http.MethodDelete, s.purgeHistory},
	}
	for _, verb := range order.Verbs() {
		endpoints["/v1/"+verb] = endpoint{http.MethodPost, s.obey(verb)}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		default:
			fail(w, &problem{Status: http.StatusServiceUnavailable, Message: "too many requests in flight"})
			return
		}
		if r.URL.Path == "/healthz" {
			healthz(w, r)
			return
		}
		if token, ok := bearer(r); !ok || !s.key.is(token) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="pushd"`)
			fail(w, &problem{Status: http.StatusUnauthorized, Message: "Authorization: Bearer KEY is needed"})
			return
		}
		e, ok := endpoints[r.Method+" "+r.URL.Path]
		if !ok {
			e, ok = endpoints[r.URL.Path]
		}
		if !ok {
			fail(w, &problem{Status: http.StatusNotFound, Message: "no such path; see /v1/publish, /v1/send …"})
			return
		}
		s.serveEndpoint(w, r, e)
	})
}

func (s *Server) serveEndpoint(w http.ResponseWriter, r *http.Request, e endpoint) {
	if r.Method != e.method {
		w.Header().Set("Allow", e.method)
		fail(w, &problem{Status: http.StatusMethodNotAllowed, Message: "use " + e.method})
		return
	}
	if prothttp.Encoded(r.Header) {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		fail(w, &problem{Status: http.StatusUnsupportedMediaType, Message: "Content-Encoding: the body must not be compressed"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	answer, err := e.serve(r.Context(), r)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, answer)
}

func reply(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"answer cannot be encoded"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // an error here is the client's: it has gone
}

func fail(w http.ResponseWriter, err error) {
	p := asProblem(err)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	reply(w, p.Status, p)
}

// readObject reads a JSON object from the body of r.
func readObject(r *http.Request) (order.Fields, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Message: "Content-Type must be application/json"}
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{Status: http.StatusRequestEntityTooLarge, Message: "body is over 1 MiB"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &problem{Status: http.StatusRequestTimeout, Message: "the body has not come within " + requestTimeout.String()}
	case err != nil:
		return nil, invalid("", "body ends early")
	}
	return order.Object(body)
}

// obey serves one kind of order.
func (s *Server) obey(verb string) func(context.Context, *http.Request) (any, error) {
	return func(ctx context.Context, r *http.Request) (any, error) {
		fields, err := readObject(r)
		if err != nil {
			return nil, err
		}
		ps, err := order.Parse(verb, fields, s.names(), new(order.Budget))
		if err != nil {
			return nil, err
		}
		tallies, err := s.ask(ctx, ps)
		if err != nil {
			return nil, err
		}
		return positioned(results[verb](sum(tallies)))(ps, tallies)
	}
}

func (s *Server) hello(context.Context, *http.Request) (any, error) {
	return map[string]string{"server": "pushd", "api": "/v1"}, nil
}

func (s *Server) stats(ctx context.Context, _ *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	raw, err := s.o.Stats(ctx)
	if err != nil {
		return nil, &problem{Status: http.StatusServiceUnavailable, Message: "stats: " + err.Error()}
	}
	return raw, nil
}

func healthz(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", http.MethodGet)
		fail(w, &problem{Status: http.StatusMethodNotAllowed, Message: "use GET"})
		return
	}
	reply(w, http.StatusOK, map[string]bool{"ok": true})
}
