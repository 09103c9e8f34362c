// One's own pushd: the built-in handlers and those of third parties.
// Start it with `go run ./examples/plugin start -c examples/plugin/pushd.toml`.
package main

import (
	"github.com/pushd/pushd/cmd"
	_ "github.com/pushd/pushd/examples/plugin/greet"
	_ "github.com/pushd/pushd/worker/handler/chat"
	_ "github.com/pushd/pushd/worker/handler/demo"
	_ "github.com/pushd/pushd/worker/handler/echo"
	_ "github.com/pushd/pushd/worker/handler/notify"
	_ "github.com/pushd/pushd/worker/handler/pusher"
)

func main() { cmd.Main() }
