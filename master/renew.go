package master

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
)

// lookEvery is how often files of copies are looked at, and warnEvery how often
// the end of a certificate is warned of. A reload that changes nothing, and comes
// within hookDelay of a renewal, is the hook of who wrote the files.
const (
	lookEvery = time.Minute
	hookDelay = 2 * time.Minute
	warnEvery = 24 * time.Hour
)

// watchCopies renews copies until the master is to stop, on a goroutine of its own.
func (m *master) watchCopies() {
	tick := time.NewTicker(m.look())
	defer tick.Stop()
	for {
		m.lookAtCopies()
		select {
		case <-m.verbs.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *master) look() time.Duration {
	if m.o.Look <= 0 {
		return lookEvery
	}
	return m.o.Look
}

// lookAtCopies reads again what has changed on the disk, or with the day.
// It returns when all processes have what is new, or will not.
func (m *master) lookAtCopies() {
	m.looking.Lock()
	defer m.looking.Unlock()
	var held []*hold
	m.do(func() { held = slices.Collect(maps.Values(m.copies)) })
	for _, h := range held {
		now := time.Now()
		if h.failed == "" && slices.Equal(look(h.Files), h.stamps) && (h.Kind != certs.KindTickets || h.day == ticketDay(now)) {
			continue
		}
		fresh, err := successor(h.Copy, h, now)
		m.do(func() { m.looked(h, fresh, err) })
	}
	all := new(sync.WaitGroup)
	m.do(func() {
		m.warnOfExpiry(time.Now())
		all = m.spread()
	})
	all.Wait()
}

// renewNow is for the broker process, which has written something that all
// processes are to have before it goes on. It is an error that one has not.
func (m *master) renewNow(issues []control.Issue) (err error) {
	m.do(func() {
		m.issues = map[string]control.Issue{}
		for _, i := range issues {
			m.issues[i.File] = i
		}
	})
	m.lookAtCopies()
	m.do(func() {
		for p := range m.live {
			for _, name := range p.unit.copies {
				if h := m.copies[name]; h != nil && p.given[name] != h.file && !p.leaving.Load() {
					err = fmt.Errorf("%s has not taken %s", p, name)
				}
			}
		}
	})
	return err
}

// looked puts what a look has brought in the place of h. What fails once may be
// a pair of which one file is written already: only the second time it is told.
// It runs on the loop.
func (m *master) looked(h, fresh *hold, err error) {
	switch {
	case m.copies[h.Name] != h || m.frozen: // a reload was faster; a new master looks again
	case err != nil && h.failed == "":
		h.failed = err.Error()
	case err != nil:
		if !h.told {
			m.log.Error("what has changed is not taken over, the copy from before serves on", "of", h.Name, "error", err)
		}
		h.failed, h.told = err.Error(), true
	default:
		m.copies[h.Name] = fresh
		if fresh.file != h.file {
			m.logRenewed(fresh)
			if len(fresh.Files) > 0 && !fresh.Optional {
				m.renewed = time.Now()
			}
		}
	}
}

func (m *master) logRenewed(h *hold) {
	switch h.Kind {
	case certs.KindChallenge:
	case certs.KindPair:
		m.log.Info("certificate renewed", "file", h.Files[0], "names", h.names, "until", h.until)
	default:
		m.log.Info("renewed", "what", h.Name)
	}
}

// warnOfExpiry runs on the loop. Of a certificate that is ordered it warns when
// that has failed: one that lives for some days is always near its end.
func (m *master) warnOfExpiry(now time.Time) {
	for _, h := range m.copies {
		if h.Kind != certs.KindPair || h.filler || now.Sub(h.warned) < warnEvery || h.Optional && m.issues[h.Files[0]].Error == "" {
			continue
		}
		if says := certs.Validity(h.from, h.until, now); says != "" {
			h.warned = now
			m.log.Warn("certificate to be renewed: "+says, "file", h.Files[0], "names", h.names)
		}
	}
}

// spread gives every process the copies that it needs and has not got. The group
// is done when all have answered, or will not. It runs on the loop.
func (m *master) spread() *sync.WaitGroup {
	var all sync.WaitGroup
	if m.frozen { // nothing must be sent that the new master does not know of
		return &all
	}
	for p := range m.live {
		for _, name := range p.unit.copies {
			h := m.copies[name]
			if h == nil || p.given[name] == h.file {
				continue
			}
			q, err := p.begin(control.TypeCopy, control.Copy{Name: name, Kind: h.Kind}, h.file)
			if err != nil {
				p.log.Warn("not told of a new certificate or key, which is tried again", "of", name, "error", err)
				continue
			}
			before := p.given[name]
			p.given[name] = h.file
			all.Go(func() { m.delivered(q, name, before) })
		}
	}
	return &all
}

// delivered waits until a process has taken a copy. One that has not is given it
// again at the next look.
func (m *master) delivered(q *question, name string, before *os.File) {
	ctx, cancel := m.within(m.t.query)
	defer cancel()
	_, err := q.await(ctx)
	if err == nil || q.p.isGone() || m.verbs.Err() != nil {
		return
	}
	q.p.log.Warn("new certificate or key not taken, which is tried again", "of", name, "error", err)
	m.post(func() { q.p.given[name] = before })
}

// copiesFor returns what a process of u inherits.
func (m *master) copiesFor(u *unit) (map[string]*os.File, error) {
	given := map[string]*os.File{}
	for _, name := range u.copies {
		if m.copies[name] == nil {
			return nil, fmt.Errorf("the master has no copy of %s", name)
		}
		given[name] = m.copies[name].file
	}
	return given, nil
}

// onlyCopies says whether nothing but copies makes g differ from what runs: then
// no process has to be replaced for it, but programs beside processes. It runs on the loop, before g is entered.
func (m *master) onlyCopies(g *generation) bool {
	changed := slices.ContainsFunc(slices.Collect(maps.Values(g.copies)), func(h *hold) bool {
		old := m.copies[h.Name]
		return old != nil && old.file != h.file && !h.Optional // what is ordered comes without a reload
	})
	late := !m.renewed.IsZero() && time.Since(m.renewed) < hookDelay // it comes for what has been done already
	m.renewed = time.Time{}
	if !changed && !late || !g.plan.equal(m.plan) || !g.program.same(m.self) {
		return false
	}
	slots, surplus := m.arrange(g)
	if len(surplus) > 0 || (g.broker == nil) != (m.broker == nil) {
		return false
	}
	if g.broker != nil {
		slots = append(slots, planned{m.broker, g.broker})
	}
	return !slices.ContainsFunc(slots, func(s planned) bool { return s.proc == nil || !s.slot.unit.equal(s.unit) })
}

// takeCopies makes the copies of g those of all processes. It returns when they
// serve with them.
func (r *reload) takeCopies(g *generation) {
	var all *sync.WaitGroup
	r.m.do(func() {
		for name, h := range g.copies {
			if old := r.m.copies[name]; old != nil {
				h.warned = old.warned
				if old.file != h.file {
					r.m.logRenewed(h)
				}
			}
			r.m.copies[name] = h
		}
		all = r.m.spread()
	})
	all.Wait()
}

// CertificateStatus is a certificate that the master has a copy of.
type CertificateStatus struct {
	File      string    `json:"file"`
	Names     []string  `json:"names"` // hosts and addresses
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after"`
	Error     string    `json:"error,omitempty"` // why what is in the file now is not taken over, or none could be ordered
	Due       time.Time `json:"due,omitzero"`    // of one that is ordered: when next
}

// certificates runs on the loop.
func (m *master) certificates() []CertificateStatus {
	list := []CertificateStatus{}
	for _, name := range slices.Sorted(maps.Keys(m.copies)) {
		h := m.copies[name]
		if h.Kind == certs.KindPair && !slices.ContainsFunc(list, func(c CertificateStatus) bool { return c.File == h.Files[0] }) {
			c := CertificateStatus{File: h.Files[0], Names: h.names, NotBefore: h.from, NotAfter: h.until}
			if i, ordered := m.issues[h.Files[0]]; ordered {
				c.Due, c.Error = i.Due, i.Error
			}
			if h.told {
				c.Error = h.failed
			}
			list = append(list, c)
		}
	}
	return list
}

// carriedCopy is a hold in a takeover.
type carriedCopy struct {
	Copy   Copy    `json:"copy"`
	FD     int     `json:"fd"`
	Stamps []stamp `json:"stamps"`
	Day    int64   `json:"day"`
	Filler bool    `json:"filler,omitempty"`
}

func (k *packer) copy(h *hold) carriedCopy {
	return carriedCopy{Copy: h.Copy, FD: k.luggage.addFile(h.file), Stamps: h.stamps, Day: h.day, Filler: h.filler}
}

func (a *adopter) copy(c carriedCopy) (*hold, error) {
	h := &hold{Copy: c.Copy, file: os.NewFile(uintptr(a.keep(c.FD)), c.Copy.Name), stamps: c.Stamps, day: c.Day, filler: c.Filler}
	if h.file == nil {
		return nil, errors.New("no such descriptor")
	}
	if h.Kind != certs.KindPair || h.filler {
		return h, nil
	}
	data := contentOf(h.file)
	defer clear(data)
	p, err := certs.ParsePair(data, data)
	if err != nil {
		return nil, err
	}
	h.names, h.from, h.until = p.Names(), p.Leaf.NotBefore, p.Leaf.NotAfter
	return h, nil
}
