package pushdtest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Foreground runs `start` as a child of the test and returns when it says that
// it is ready. prepare, which may be nil, changes the command before it runs;
// its end is sent on ended. What it logs is part of Log.
func (s *Server) Foreground(prepare func(*exec.Cmd)) (c *exec.Cmd, ended <-chan error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*Timeout)
	s.t.Cleanup(cancel)
	c = s.Command(ctx, "start")
	log, err := os.Create(filepath.Join(s.Dir, "foreground.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	c.Stderr = log
	if prepare != nil {
		prepare(c)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			over := make(chan error, 1)
			go func() { _, _ = io.Copy(io.Discard, out); over <- c.Wait() }()
			return c, over
		}
	}
	_ = c.Wait()
	s.t.Fatalf("not ready:\n%s", s.Log())
	return nil, nil
}
