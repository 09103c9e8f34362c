package hook

import "time"

// open reads the journal. One that cannot be read is begun anew.
func (e *endpoint) open() {
	j, damaged, err := openJournal(e.journal.path, e.replay)
	if err != nil {
		e.log.Error("webhook journal cannot be read, what it holds is lost", "cause", err)
		e.journal.broken = true
		return
	}
	e.journal = j
	if damaged > 0 {
		e.log.Error("webhook journal: damaged lines were skipped, their events are lost", "path", j.path, "lines", damaged)
	}
	if n := len(e.queue) + len(e.held); n > 0 {
		e.log.Info("webhook events from before wait for delivery", "events", n)
	}
}

// save brings the journal up to date, and makes it small when most of it is
// history.
func (e *endpoint) save(now time.Time) {
	j := e.journal
	err := j.flush()
	switch {
	case err != nil:
	case j.broken && now.Before(e.mendAt):
		return
	case j.broken, j.long(e.bytes == 0):
		err = j.rewrite(e.entries())
	}
	switch {
	case err != nil:
		if e.mendAt.IsZero() {
			e.log.Error("webhook journal cannot be written: until it can, a restart loses the events that wait", "cause", err)
		}
		j.broken, e.mendAt = true, now.Add(mendEvery)
	case !e.mendAt.IsZero():
		e.log.Info("webhook journal is written again")
		e.mendAt = time.Time{}
	}
}

// entries are what a journal has to hold for the queue as it is.
func (e *endpoint) entries() (list []entry) {
	for i := range e.queue {
		list = append(list, entry{Event: &e.queue[i].event, At: milli(e.queue[i].at)})
	}
	for _, m := range e.order {
		if it, ok := e.held[m.subject]; ok && it.mark == m.n {
			list = append(list, entry{Hold: &it.event, At: milli(it.at)})
		}
	}
	return list
}

// complaint is what was dropped since the last line in the log.
type complaint struct {
	lost int
	why  string
	last time.Time
}

// drop notes lost events.
func (e *endpoint) drop(n int, why string) {
	e.complaint.lost += n
	e.complaint.why = why
}

// complain logs what was dropped, all of it if nothing comes after.
func (e *endpoint) complain(now time.Time, all bool) {
	c := &e.complaint
	if c.lost == 0 || !all && now.Sub(c.last) < complainEvery {
		return
	}
	e.log.Warn("webhook events dropped", "events", c.lost, "cause", c.why)
	*c = complaint{last: now}
}
