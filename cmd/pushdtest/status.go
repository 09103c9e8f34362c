package pushdtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// Status is the part of `status --json` that tests need.
type Status struct {
	Master  struct{ PID int }
	Broker  struct{ PID int }
	Workers []struct {
		Name, State           string
		Slot, PID, Generation int
		Connections, Restarts int
		Listen                []string
		MessagesIn            uint64 `json:"messages_in"`
		MessagesOut           uint64 `json:"messages_out"`
		SendFailures          int    `json:"send_failures"`
		QueueBytes            int    `json:"queue_bytes"`
		BrokerGaps            int    `json:"broker_gaps"`
		Limit                 int    `json:"connections_limit"`
	}
}

// Status asks the master for what `status --json` prints. It does so without the
// command: tests ask until something is so, and a process for each question would
// be most of what they cost. Where the master gives no answer the command has the
// word.
func (s *Server) Status() (st Status) {
	s.t.Helper()
	raw, err := s.ask("status")
	if err != nil {
		raw = []byte(s.MustRun("status", "--json"))
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		s.t.Fatalf("status: %v", err)
	}
	return st
}

// ask sends a question without arguments to the socket that commands use. (It is what
// master.Client does; but the tests of package master use this package.)
func (s *Server) ask(op string) (json.RawMessage, error) {
	c, err := net.DialTimeout("unix", filepath.Join(s.Dir, "run", "control.sock"), Timeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(Timeout))
	if _, err := fmt.Fprintf(c, "{\"version\":1,\"op\":%q}\n", op); err != nil {
		return nil, err
	}
	var answer struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Data, nil
}

// Connections returns the sum over all workers.
func (st Status) Connections() (n int) {
	for _, w := range st.Workers {
		n += w.Connections
	}
	return n
}

// Messages returns how many messages all workers have sent.
func (st Status) Messages() (n uint64) {
	for _, w := range st.Workers {
		n += w.MessagesOut
	}
	return n
}

// Gaps returns how many publications the workers know to be lost.
func (st Status) Gaps() (n int) {
	for _, w := range st.Workers {
		n += w.BrokerGaps
	}
	return n
}
