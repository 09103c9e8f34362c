package sequencer

// strays are channels with a history here into which somebody publishes who knows of
// none: a node that a change of the config has not reached yet, or does not any more.
// What he publishes reaches everybody, but it has no position, and the log knows nothing
// of it. So whoever was there before is told, here, that he may have missed something.
type strays struct {
	by   map[string]bool   // channels of the last aheadWait; true = one more has come meanwhile
	apps map[string]uint64 // up to where an app's clients are to be told, in the next process too
	due  bool              // that is to be written
}

// stray notes a message without a position.
func (h *sharedStore) stray(channel string) {
	if !h.s.env.Channels.HasHistory(channel) {
		return
	}
	h.doubt(channel)
	if _, waits := h.strays.by[channel]; waits {
		h.strays.by[channel] = true
		return
	}
	h.strays.by[channel] = false
	h.s.env.After(aheadWait, func() { h.settle(channel) })
}

// settle doubts a channel once more: another node may have been ahead of this one, and
// given a client a position that was not reached here when the message came.
func (h *sharedStore) settle(channel string) {
	h.doubt(channel)
	if h.strays.by[channel] {
		h.strays.by[channel] = false
		h.s.env.After(aheadWait, func() { h.settle(channel) })
	} else {
		delete(h.strays.by, channel)
	}
	h.noteStrays()
}

// doubtStrays doubts a channel of which there may still be something on its way.
func (h *sharedStore) doubtStrays(channel string) {
	if _, waits := h.strays.by[channel]; waits {
		h.doubt(channel)
	}
}

func (h *sharedStore) doubt(channel string) {
	s := h.s
	app := s.env.Apps.Of(channel)
	s.rings.Stray(app, channel)
	if at := s.rings.Now(app).Offset; at > h.strays.apps[app] {
		h.strays.apps[app], h.strays.due = at, true
	}
}

// noteStrays has the next process doubt the apps, as it knows of no channels.
func (h *sharedStore) noteStrays() {
	if h.strays.due {
		h.strays.due = !h.tellNext(0, 0)
	}
}

// tellNext tells the next process of this one, and if this is its end up to where it has
// read, or since when workers wait for it.
func (h *sharedStore) tellNext(read uint64, since int64) bool {
	note, known := h.s.readRules()
	if !known || note.Epoch != h.epoch {
		return false
	}
	for app, at := range h.strays.apps {
		note.Doubt[app] = max(note.Doubt[app], at)
	}
	note.Read, note.Since = read, since
	h.s.writeRules(&note)
	return true
}
