// Three machines on one: a NATS cluster of three servers and three pushds, each
// on its own server, that are one to their clients.
//
//	go run ./examples/cluster up
//
// starts all and prints three addresses. Open them in three tabs: each shows who
// is where. Then end one of the nodes that it names (kill -9), or stop one, and
// watch the others. Ctrl-C ends everything.
package main

import (
	"embed"
	"encoding/json"
	"net/http"
	"os"

	"github.com/pushd/pushd/cmd"
	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher"
)

//go:embed index.html channels.js
var page embed.FS

func main() {
	if len(os.Args) == 2 && os.Args[1] == "up" {
		os.Exit(together())
	}
	app := pusher.DefaultApp()
	app.ID, app.Key, app.Secret = "1001", "demo-key", "demo-secret" // yours come from the environment

	w := worker.New("websocket://127.0.0.1:8101")
	w.Name, w.Count = "cluster", 2
	pusher.SetApps(w, app)
	w.Routes = []worker.Route{{Pattern: "/app/{key}", Handler: &pusher.Handler{}}}
	back := backEnd(app, os.Getenv("PUSHD_CLUSTER_NODE"))
	w.OnRequest = func(res *worker.Response, req *worker.Request) { back.ServeHTTP(res, req.Request) }
	cmd.Run(w)
}

// backEnd is the web app: its page, and who one is in the presence channel.
func backEnd(app pusher.App, node string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))
	mux.HandleFunc("POST /auth", func(res http.ResponseWriter, req *http.Request) {
		user := req.URL.Query().Get("user") // a web app looks at its session
		socket, channel := req.FormValue("socket_id"), req.FormValue("channel_name")
		if user == "" || channel != "presence-everywhere" {
			http.Error(res, "not for you", http.StatusForbidden)
			return
		}
		raw, _ := json.Marshal(map[string]any{"user_id": user, "user_info": map[string]string{"node": node}})
		member := string(raw)
		res.Header().Set("Content-Type", "application/json")
		json.NewEncoder(res).Encode(map[string]string{
			"channel_data": member,
			"auth":         app.Key + ":" + wire.Sign(app.Secret, wire.ChannelText(socket, channel, member)),
		})
	})
	return mux
}
