package history

import (
	"encoding/json"
	"fmt"
	"io"
)

// maxSeq bounds the numbers of a saved history, as they are in messages.
const maxSeq = 1<<30 - 1

// Write saves a history as JSON.
func (h *History) Write(w io.Writer) error { return json.NewEncoder(w).Encode(h) }

// Read loads a saved history and refuses one that no run could have left.
func Read(r io.Reader) (*History, error) {
	var h History
	if err := json.NewDecoder(r).Decode(&h); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	for _, s := range h.Sessions {
		if s.Sent > maxSeq {
			return nil, fmt.Errorf("history: session %d sent %d messages", s.ID, s.Sent)
		}
		for _, t := range s.Tracks {
			if len(t.Runs) == 0 {
				return nil, fmt.Errorf("history: session %d has an empty track of stream %d", s.ID, t.Stream)
			}
			for _, r := range t.Runs {
				if r.First < 1 || r.First > r.Last || r.Last > maxSeq {
					return nil, fmt.Errorf("history: session %d has run %d to %d of stream %d", s.ID, r.First, r.Last, t.Stream)
				}
			}
		}
	}
	return &h, nil
}
