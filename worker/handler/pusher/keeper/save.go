package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The last events of cache channels outlive the process, so that a new program
// or a restart does not empty them: written when the service stops, read
// when it starts, and removed once it is in service: a process that fails before
// leaves it to the next one. A process that is killed takes them along.

// cacheFile is below the data folder.
const cacheFile = "cached-events.json"

// savedEvent is a cached in the file.
type savedEvent struct {
	Name    string    `json:"name"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// save writes the cache to the folder.
func (c *cache) save(dir string) error {
	if c.order.Len() == 0 {
		return nil
	}
	list := make([]savedEvent, 0, c.order.Len())
	for el := c.order.Back(); el != nil; el = el.Prev() {
		e := el.Value.(*cached)
		list = append(list, savedEvent{e.name, string(e.message), e.at})
	}
	raw, err := json.Marshal(list)
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	name := filepath.Join(dir, cacheFile)
	if err == nil {
		err = os.WriteFile(name+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("save last events of cache channels: %w", err)
	}
	return nil
}

// load takes over what another process has saved.
func (c *cache) load(dir string) error {
	name := filepath.Join(dir, cacheFile)
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var list []savedEvent
	if err == nil {
		c.file = name
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		return fmt.Errorf("load last events of cache channels: %w", err)
	}
	for _, e := range list {
		c.put(&cached{name: e.Name, message: []byte(e.Message), at: e.At})
	}
	return nil
}

// taken removes the file that was loaded.
func (c *cache) taken() {
	if c.file != "" {
		_ = os.Remove(c.file) // is overwritten when the service stops
		c.file = ""
	}
}
