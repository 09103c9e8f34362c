package script

import (
	"maps"
	"os"
	"strings"
	"time"
)

// watchEvery is how often `watch` looks at the files, maxWatched at how many.
const (
	watchEvery = 250 * time.Millisecond
	maxWatched = 2000
)

// stamp tells apart states of a file; that of one that is not there is zero.
type stamp struct{ modified, size int64 }

func stamps(files []string) map[string]stamp {
	all := make(map[string]stamp, len(files))
	for _, name := range files[:min(len(files), maxWatched)] {
		all[name] = stamp{}
		if s, err := os.Stat(name); err == nil {
			all[name] = stamp{s.ModTime().UnixNano(), s.Size()}
		}
	}
	return all
}

// loads notes what the program has loaded since it was ready.
func (h *handler) loads(p *proc, names []byte) {
	for name := range strings.SplitSeq(string(names), "\x00") {
		if len(p.welcome.Files) < maxWatched {
			p.welcome.Files = append(p.welcome.Files, name)
		}
	}
	if h.o.Watch {
		h.glance()
	}
}

// watch replaces the process when a file of the program has changed: for
// development.
func (h *handler) watch() {
	if h.o.Watch {
		h.seen = stamps(h.watched())
		h.w.Every(watchEvery, h.glance)
	}
}

// watched are the files that a change of replaces the program.
func (h *handler) watched() []string {
	files := h.o.files()
	if h.cur != nil {
		files = append(files, h.cur.welcome.Files...)
	}
	return files
}

func (h *handler) glance() {
	files := h.watched()
	_ = h.w.Go(func() {
		now := stamps(files)
		_ = h.w.Post(func() { h.look(now) })
	})
}

// look compares files as they are now with what has been seen of them. A process that
// starts may have read what was: it is begun again, be it that it would never get ready.
// While one takes over, that waits.
func (h *handler) look(now map[string]stamp) {
	changed := false
	for name, is := range now {
		was, known := h.seen[name]
		if !known {
			h.seen[name] = is
		}
		changed = changed || known && was != is
	}
	starting := h.starting && h.backoff == nil && h.cut == nil || h.cur != nil && h.cur.stopping
	if !changed || starting || h.leaving || h.exported != nil {
		return
	}
	maps.Copy(h.seen, now)
	if h.cut != nil {
		h.log.Info("script: a file has changed, the process that starts is begun again", "script", h.title())
		h.cut()
		return
	}
	h.log.Info("script: a file has changed", "script", h.title())
	h.renew(h.replaced)
}
