// Command pushd is the push server with the built-in handlers. A pushd with
// handlers of one's own is this file with another import (examples/plugin).
package main

import (
	"github.com/pushd/pushd/cmd"

	_ "github.com/pushd/pushd/worker/handler/chat"
	_ "github.com/pushd/pushd/worker/handler/demo"
	_ "github.com/pushd/pushd/worker/handler/echo"
	_ "github.com/pushd/pushd/worker/handler/mercure"
	_ "github.com/pushd/pushd/worker/handler/notify"
	_ "github.com/pushd/pushd/worker/handler/pusher"
	_ "github.com/pushd/pushd/worker/handler/script"
)

func main() { cmd.Main() }
