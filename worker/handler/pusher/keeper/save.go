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
		err = writeFile(dir, cacheFile, raw)
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

// What the keeper has acted on goes to the next one too, so that who has left
// already is not told to have left again: by client, the number of the op that
// was expected when the keeper stopped. The file is removed once the keeper is
// settled: it says nothing of what comes later.
const heardFile = "keeper-heard.json"

// saveHeard writes it to the folder.
func (k *Keeper) saveHeard(dir string) error {
	if !k.settled {
		return nil // changes wait that nobody was told of
	}
	heard := map[uint64]uint64{}
	for _, l := range k.leases.byName {
		if l.synced {
			heard[l.instance] = l.next
		}
	}
	raw, err := json.Marshal(heard)
	if err == nil {
		err = writeFile(dir, heardFile, raw)
	}
	if err != nil {
		return fmt.Errorf("save what the keeper has heard: %w", err)
	}
	return nil
}

// loadHeard reads what another process has saved.
func (k *Keeper) loadHeard(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, heardFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &k.heard)
	}
	if err != nil {
		return fmt.Errorf("load what the keeper before has heard: %w", err)
	}
	return nil
}

// told reports whether a departure that is announced now is no news: the keeper
// before has acted on it, or has not even heard of the subscription.
func (k *Keeper) told(l *lease, o *op) bool {
	next, ok := k.heard[l.instance]
	return ok && o.Kind == opLeave && o.N > 0 && (uint64(o.N) < next || uint64(o.Joined) >= next)
}

// forgetHeard removes what was loaded, once this keeper tells of changes itself:
// until then the next one needs it.
func (k *Keeper) forgetHeard() {
	if k.env.DataDir != "" {
		_ = os.Remove(filepath.Join(k.env.DataDir, heardFile))
		_ = os.Remove(filepath.Join(k.env.DataDir, handedFile))
	}
}

// writeFile replaces a file of the folder, which is made if need be.
func writeFile(dir, name string, raw []byte) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// taken removes the file that was loaded.
func (c *cache) taken() {
	if c.file != "" {
		_ = os.Remove(c.file) // is overwritten when the service stops
		c.file = ""
	}
}
