package history

// Bounds of what an app may ask to be remembered about its publishes.
const (
	KeyAge  = 5 * 60 * 1000 // milliseconds that an idempotency key is known
	MaxKeys = 64 << 10      // of an app, and as many versions; beyond them the oldest go, counted
	MaxKey  = 200           // bytes of a key
)

// keys are the idempotency keys of an app, each for one channel.
type keys struct {
	known map[string]keyed
	order []string // in the order of coming, from front on
	front int
	gone  int // entries that were before order[0]
}

type keyed struct {
	position Position
	at       int64
}

// Known returns what was answered to a publish into the channel with that key,
// if it was within KeyAge.
func (s *Store) Known(app, name, key string, now int64) (Position, bool) {
	_, q := s.sequenceOf(app)
	k, ok := q.keys.known[keyOf(name, key)]
	return k.position, ok && now-s.Behind-k.at < KeyAge
}

// SetBack says that the clock shows now and has shown more: what came by that time
// came now, or it would be known for as much longer.
func (s *Store) SetBack(now int64) {
	for _, q := range s.seqs {
		for id, k := range q.keys.known {
			if k.at > now {
				k.at = now
				q.keys.known[id] = k
			}
		}
	}
}

func keyOf(name, key string) string { return name + "\x00" + key }

// Remember notes what was answered to a publish with a key. It returns how many
// keys went before their time for want of room.
func (s *Store) Remember(app, name, key string, p Position, now int64) (early int) {
	_, q := s.sequenceOf(app)
	k := &q.keys
	for k.front < len(k.order) {
		old, ok := k.known[k.order[k.front]]
		if ok && now-s.Behind-old.at < KeyAge {
			if len(k.order)-k.front < MaxKeys {
				break
			}
			early++
		}
		delete(k.known, k.order[k.front])
		k.order[k.front] = ""
		k.front++
	}
	if k.front > len(k.order)/2 {
		n := copy(k.order, k.order[k.front:])
		clear(k.order[n:])
		k.gone += k.front
		k.order, k.front = k.order[:n], 0
	}
	k.add(keyOf(name, key), keyed{p, now})
	return early
}

func (k *keys) add(id string, at keyed) {
	if k.known == nil {
		k.known = map[string]keyed{}
	}
	if _, again := k.known[id]; !again {
		k.order = append(k.order, id)
	}
	k.known[id] = at
}

// versions are the newest versions of channels whose publishers give some.
type versions struct {
	of    map[string]uint64
	order []string
	gone  int // entries that were before order[0]
}

// Newer notes the version of a message for a channel, and reports whether it is
// newer than all before it. early is 1 when another channel's was forgotten for
// want of room.
func (s *Store) Newer(app, name string, version uint64) (newer bool, early int) {
	_, q := s.sequenceOf(app)
	v := &q.versions
	old, known := v.of[name]
	if known && version <= old {
		return false, 0
	}
	return true, v.add(name, version)
}

func (v *versions) add(name string, version uint64) (early int) {
	if v.of == nil {
		v.of = map[string]uint64{}
	}
	if _, known := v.of[name]; !known {
		if len(v.order) == MaxKeys {
			delete(v.of, v.order[0])
			v.order = v.order[1:]
			v.gone++
			early = 1
		}
		v.order = append(v.order, name)
	}
	v.of[name] = version
	return early
}
