package mercure

import (
	"sync"

	"github.com/pushd/pushd/worker"
)

var (
	processesMu sync.Mutex
	processes   = map[*worker.Worker]map[string]*process{}
)

// processOf returns what the routes of a hub share.
func processOf(w *worker.Worker, hub string) *process {
	processesMu.Lock()
	defer processesMu.Unlock()
	if processes[w] == nil {
		processes[w] = map[string]*process{}
	}
	p := processes[w][hub]
	if p == nil {
		p = &process{}
		processes[w][hub] = p
	}
	return p
}

func forget(w *worker.Worker) {
	processesMu.Lock()
	defer processesMu.Unlock()
	delete(processes, w)
}
