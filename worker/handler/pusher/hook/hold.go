package hook

import "time"

// mark is the place of a held event among those that are held.
type mark struct {
	subject subject
	n       int64
}

// hold keeps an event back for a while. It reports false if one of the same
// subject is held already.
func (e *endpoint) hold(s subject, it item) bool {
	if _, twice := e.held[s]; twice {
		return false
	}
	e.marks++
	it.mark = e.marks
	e.held[s] = it
	e.order = append(e.order, mark{s, it.mark})
	e.bytes += it.event.size()
	return true
}

// release ends a hold.
func (e *endpoint) release(s subject) (item, bool) {
	it, ok := e.held[s]
	if ok {
		delete(e.held, s)
		e.bytes -= it.event.size()
	}
	return it, ok
}

// ready moves a held event to the queue's end.
func (e *endpoint) ready(s subject, at time.Time) {
	if it, ok := e.release(s); ok {
		e.push(item{event: it.event, at: at})
	}
}

// mature ends the holds that are over.
func (e *endpoint) mature(now time.Time) {
	for len(e.order) > 0 {
		m := e.order[0]
		if it, ok := e.held[m.subject]; ok && it.mark == m.n {
			age := now.Sub(it.at)
			if age >= 0 && age < e.timing.hold { // below 0: the clock was set back between two processes
				return
			}
			e.confirm(m.subject, it, now)
		}
		e.order = e.order[1:]
	}
	e.order = nil
}

// confirm lets a held event go: nothing has taken it back.
func (e *endpoint) confirm(s subject, it item, at time.Time) {
	if !e.hook.Wants(it.event.Name) { // held to swallow the one that takes it back
		e.journal.add(entry{Back: &it.event})
		e.release(s)
		return
	}
	e.journal.add(entry{Ready: &it.event, At: milli(at)})
	e.ready(s, at)
}
