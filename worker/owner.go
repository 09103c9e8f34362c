package worker

import (
	"fmt"
	"sync"

	"github.com/pushd/pushd/worker/channel"
)

var (
	ownersMu sync.RWMutex
	owners   = map[string]string{}

	handlerChannels = map[string]channel.Rules{}
)

// OwnChannels says that the channels "name:…" are whose, in words such as "the
// rooms of the handler chat": nobody who makes up such names from a config takes
// them then. Call it from an init function; it panics when the name is taken.
func OwnChannels(name, whose string) {
	ownersMu.Lock()
	defer ownersMu.Unlock()
	if _, taken := owners[name]; taken || name == "" {
		panic(fmt.Sprintf("worker: the channels %q are taken or have no name", name+":"))
	}
	owners[name] = whose
}

// HandlerChannels says what holds of a handler's channels where it serves a route,
// behind all that the config says. Call it from an init function.
func HandlerChannels(handler string, rules ...channel.Rule) {
	ownersMu.Lock()
	defer ownersMu.Unlock()
	handlerChannels[handler] = rules
}

// ChannelsOf returns what HandlerChannels has said of a handler.
func ChannelsOf(handler string) channel.Rules {
	ownersMu.RLock()
	defer ownersMu.RUnlock()
	return handlerChannels[handler]
}

// ChannelsTaken is an error when the channels "id:…" are somebody's.
func ChannelsTaken(id string) error {
	ownersMu.RLock()
	defer ownersMu.RUnlock()
	if whose, taken := owners[id]; taken {
		return fmt.Errorf("the id %s is taken: %s:NAME are %s", id, id, whose)
	}
	return nil
}
