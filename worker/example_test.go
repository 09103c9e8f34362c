package worker_test

import (
	"net/http"

	"github.com/pushd/pushd/worker"
)

// lookUp stands for a query that takes 50 ms.
func lookUp(token string) (name string) { return "somebody with " + token }

// A callback must not wait: while it does, no other client of the process is
// served. What takes time goes to Go; its result comes back through Post. The
// connection may be elsewhere by then, gone or moved by a reload, so it is
// named by its id.
func ExampleWorker_Go() {
	w := worker.New("websocket://127.0.0.1:2346")
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		id, token := c.ID(), m.String() // m.Data is valid until the return; String copies
		err := w.Go(func() {
			name := lookUp(token)
			_ = w.Post(func() { _ = w.SendToConn(id, worker.Text("hello, "+name)) })
		})
		if err != nil { // 1,024 look-ups are under way
			c.Close(1013, "busy")
		}
	}
}

// A listener behind TLS: w.TLS names the files. The other listeners of the group may do
// without; Redirect sends their requests to the first.
func ExampleTLS() {
	w := worker.New("wss://0.0.0.0:443", "http://0.0.0.0:80")
	w.TLS = &worker.TLS{
		Certificates: []worker.TLSFiles{{Cert: "/etc/letsencrypt/live/push.example.com/fullchain.pem", Key: "/etc/letsencrypt/live/push.example.com/privkey.pem"}},
		MinVersion:   "1.3",
	}
	w.Redirect = worker.RedirectHTTPS
	w.OnMessage = func(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
	// cmd.Run(w) as ever
}

// A net/http handler serves the requests of the port that takes the WebSockets. It
// may block; what it tells connections goes through Post.
func ExampleHTTP() {
	w := worker.New("websocket://127.0.0.1:2346")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /news/{channel}", func(rw http.ResponseWriter, r *http.Request) {
		if lookUp(r.Header.Get("Authorization")) == "" {
			http.Error(rw, "who are you?", http.StatusForbidden)
			return
		}
		body, channel := r.FormValue("text"), r.PathValue("channel")
		if err := w.Post(func() { _ = w.Publish(channel, worker.Text(body)) }); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		}
	})
	w.OnRequest = worker.HTTP(mux)
}

// Processes tell each other that what they have cached is no longer true.
func ExampleWorker_On() {
	w := worker.New("websocket://127.0.0.1:2346")
	names := map[string]string{} // of this process, by token
	w.OnWorkerStart = func(w *worker.Worker) error {
		w.On("name-changed", func(m worker.Message) { delete(names, m.String()) })
		return nil
	}
	w.OnMessage = func(_ *worker.Conn, m worker.Message) { // from whoever has renamed one
		_ = w.Publish("name-changed", m)
	}
}
