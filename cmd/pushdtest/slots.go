package pushdtest

import "syscall"

// DialEach connects n WebSocket clients to each worker process of the server's
// group, of the one with this name where there are several. The processes
// accept from one queue, and the kernel wakes whom it likes: to dial until each
// has a client may take for ever.
func (s *Server) DialEach(path string, n int, group ...string) (bySlot [][]*Client) {
	s.t.Helper()
	for slot := range s.slots(group) {
		var clients []*Client
		s.Alone(slot, func() {
			for range n {
				clients = append(clients, s.Dial(path))
			}
		}, group...)
		bySlot = append(bySlot, clients)
	}
	return bySlot
}

// Alone runs fn while of the worker processes of a group only that of slot
// runs: whoever connects meanwhile is accepted there. The others are stopped, so
// fn is short, or the server has no watchdog.
func (s *Server) Alone(slot int, fn func(), group ...string) {
	s.t.Helper()
	for i, pid := range s.slots(group) {
		if i == slot {
			continue
		}
		Freeze(s.t, pid)
		defer syscall.Kill(pid, syscall.SIGCONT)
	}
	fn()
}

// slots are the processes of a worker group, in order.
func (s *Server) slots(group []string) (pids []int) {
	s.t.Helper()
	for _, w := range s.Status().Workers {
		if len(group) == 0 || w.Name == group[0] {
			pids = append(pids, w.PID)
		}
	}
	return pids
}
