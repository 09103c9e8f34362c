// Command report runs `go test` with the given arguments and tells a person how
// it goes: a line for each package that ends, one every half minute of silence,
// and at the end the tests that failed, each with the end of what it printed.
//
//	go run ./cmd/pushdtest/report -o FILE -- -count=1 ./...
//
// All that the tests print goes to FILE. The exit code is that of go test.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

func main() {
	file := flag.String("o", "test.log", "write all output to `FILE`")
	flag.Parse()
	code, err := run(*file, flag.Args(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	os.Exit(code)
}

// silence is after how long without a line the running tests are named.
const silence = 30 * time.Second

func run(file string, args []string, out io.Writer) (code int, err error) {
	log, err := os.Create(file)
	if err != nil {
		return 1, err
	}
	defer log.Close()
	c := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := c.Start(); err != nil {
		return 1, err
	}
	s := newSummary(out)
	follow(s, events(pipe, log))
	err = c.Wait()
	s.tell(file)
	if c.ProcessState.ExitCode() != 0 {
		return max(c.ProcessState.ExitCode(), 1), nil
	}
	return 0, err
}

// follow feeds the summary until the events end.
func follow(s *summary, in <-chan event) {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for {
		select {
		case e, ok := <-in:
			if !ok {
				return
			}
			if s.note(e) {
				tick.Reset(silence)
			}
		case now := <-tick.C:
			s.alive(now)
		}
	}
}

// events reads what `go test -json` writes; what the tests print goes to log.
// Lines that are none of go's own are kept as output of no test.
func events(r io.Reader, log io.Writer) <-chan event {
	out := make(chan event, 64)
	go func() {
		defer close(out)
		lines := bufio.NewReaderSize(r, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if len(line) > 0 {
				var e event
				if json.Unmarshal(line, &e) != nil {
					e = event{Action: "output", Output: string(line)}
				}
				io.WriteString(log, e.Output)
				out <- e
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}
