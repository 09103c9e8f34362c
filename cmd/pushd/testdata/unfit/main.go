// Command unfit is pushd with a fault, for the tests: it plans and works, but
// cannot take over from a running master. How, says the file "unfit" in its
// working directory.
package main

import (
	"fmt"
	"os"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/master"

	_ "github.com/pushd/pushd/worker/handler/echo"
)

func main() {
	if how, _ := os.ReadFile("unfit"); os.Getenv(master.TakeoverEnv) != "" {
		switch string(how) {
		case "older": // than taking over
			os.Unsetenv(master.TakeoverEnv)
		case "panic":
			panic("planted")
		case "silent":
			os.Exit(0)
		case "refuse":
			fmt.Fprintln(os.Stderr, "planted: not from this one")
			os.Exit(1)
		}
	}
	cmd.Main()
}
