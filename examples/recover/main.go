// A page that misses nothing while its network is away. What makes it so is in
// pushd.toml (a channel with history) and in index.html, by WebSocket, and
// events.html, by EventSource: a dozen lines of JavaScript each, without a library.
// This program only serves the pages too.
//
// Start it with `go run ./examples/recover start -c examples/recover/pushd.toml`,
// then open http://127.0.0.1:8095/ and press the button.
package main

import (
	"embed"
	"net/http"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
	_ "github.com/pushd/pushd/worker/handler/chat"
	_ "github.com/pushd/pushd/worker/handler/notify"
)

//go:embed index.html events.html show.js
var page embed.FS

type files struct{ http.Handler }

// OnRequest serves the page.
func (f files) OnRequest(res *worker.Response, req *worker.Request) { f.ServeHTTP(res, req.Request) }

func main() {
	worker.RegisterHandler("page", func(worker.Options) (worker.Handler, error) {
		return files{http.FileServerFS(page)}, nil
	})
	cmd.Main()
}
