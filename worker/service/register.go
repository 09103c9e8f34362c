package service

import (
	"fmt"
	"sort"
	"sync"
)

var (
	servicesMu sync.Mutex
	services   = map[string]func() Service{}
)

// Register makes every broker process of the program start the service
// that fn makes. Call it from an init function; it panics when the name is
// empty or taken.
func Register(name string, fn func() Service) {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	if name == "" || fn == nil {
		panic("worker: RegisterService needs a name and a function")
	}
	if _, taken := services[name]; taken {
		panic(fmt.Sprintf("worker: service %q is registered twice", name))
	}
	services[name] = fn
}

// Names lists the registered services in alphabetical order.
func Names() []string {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	names := make([]string, 0, len(services))
	for n := range services {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// New makes the service registered under name, nil if there is none.
func New(name string) Service {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	if fn := services[name]; fn != nil {
		return fn()
	}
	return nil
}
