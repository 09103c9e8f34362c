package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

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
	return ok && (o.Kind == opLeave || o.Kind == opSignout) && o.N > 0 && (uint64(o.N) < next || uint64(o.Joined) >= next)
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
