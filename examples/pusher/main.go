// Pusher Channels without Pusher: presence, private channels, client events and
// triggers, with the calls that pusher-js has.
//
// A connection asks the app's back end for permission to each private channel;
// the back end knows the user and signs. Both run here in one program; with a
// back end of your own, pushd needs a config file only (README.md).
//
// Start it with `go run ./examples/pusher start`, then open
// http://127.0.0.1:8090/?user=ann and http://127.0.0.1:8090/?user=bob.
package main

import (
	"embed"
	"encoding/json"
	"net/http"

	"github.com/pushd/pushd/cmd"
	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher"
)

//go:embed index.html channels.js
var page embed.FS

func main() {
	app := pusher.DefaultApp()
	app.ID, app.Key, app.Secret = "1001", "demo-key", "demo-secret" // yours come from the environment
	app.ClientEvents = true

	w := worker.New("websocket://0.0.0.0:8090")
	w.Name, w.Count = "pusher", 2
	pusher.SetApps(w, app)
	w.Routes = []worker.Route{
		{Pattern: "/app/{key}", Handler: &pusher.Handler{}}, // pusher-js, Laravel Echo
		{Pattern: "/apps/*", Handler: &pusher.Handler{}},    // server SDKs
	}
	w.OnRequest = serve(backEnd(w, app))
	cmd.Run(w)
}

// serve hands plain HTTP requests to net/http.
func serve(h http.Handler) func(*worker.Response, *worker.Request) {
	return func(res *worker.Response, req *worker.Request) { h.ServeHTTP(res, req.Request) }
}

// backEnd is the web app: its page, whom it lets into which channel, and an
// event that it sends.
func backEnd(w *worker.Worker, app pusher.App) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))

	mux.HandleFunc("POST /pusher/auth", func(res http.ResponseWriter, req *http.Request) {
		user := userOf(req)
		socket, channel := req.FormValue("socket_id"), req.FormValue("channel_name")
		answer := map[string]string{}
		switch {
		case user != "" && channel == "presence-lobby":
			member := map[string]any{"user_id": user, "user_info": map[string]string{"name": user}}
			raw, _ := json.Marshal(member)
			answer["channel_data"] = string(raw)
		case user != "" && channel == "private-user-"+user: // one's own, and no one else's
		default:
			http.Error(res, "not for you", http.StatusForbidden)
			return
		}
		text := wire.ChannelText(socket, channel, answer["channel_data"])
		answer["auth"] = app.Key + ":" + wire.Sign(app.Secret, text)
		res.Header().Set("Content-Type", "application/json")
		json.NewEncoder(res).Encode(answer)
	})

	// A trigger, as any server SDK sends it over HTTP.
	mux.HandleFunc("POST /orders", func(res http.ResponseWriter, req *http.Request) {
		channel := "private-user-" + req.FormValue("for")
		data, _ := json.Marshal(map[string]string{"from": userOf(req), "item": req.FormValue("item")})
		event := wire.Event("order", channel, string(data))
		if err := w.Publish(app.ID+":"+channel, worker.Text(string(event))); err != nil {
			http.Error(res, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return mux
}

// userOf says who sent the request: a web app looks at its session, this demo
// believes the query.
func userOf(req *http.Request) string { return req.URL.Query().Get("user") }
