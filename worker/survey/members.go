package survey

// MaxMembers is how many names one question over all processes takes, and how
// many members it lists.
const MaxMembers = 1000

// OnlineQuery are the uids that the query "online" is about: bytes, since a
// program may choose names that are no text. The answer is a list of how many
// connections each has in the process, in the same order.
type OnlineQuery [][]byte

// NewOnlineQuery asks for these.
func NewOnlineQuery(uids []string) OnlineQuery {
	q := make(OnlineQuery, len(uids))
	for i, uid := range uids {
		q[i] = []byte(uid)
	}
	return q
}

// Add adds what one process has answered to those who are online. A uid that was
// asked for twice counts once.
func (q OnlineQuery) Add(online map[string]int, counts []int) {
	seen := make(map[string]bool, len(q))
	for i, n := range counts[:min(len(counts), len(q))] {
		if uid := string(q[i]); n > 0 && !seen[uid] {
			seen[uid] = true
			online[uid] += n
		}
	}
}

// maxListed bounds the bytes of uids in what one process tells of the members.
const maxListed = 512 << 10

// A Member is a connection that has joined a channel.
type Member struct {
	ID  string // Conn.ID
	UID string // "" = bound to none
}

// MembersQuery asks for members of a channel: bytes, since a program may choose names
// that are no text.
type MembersQuery struct {
	Channel []byte `json:"channel"`
	Limit   int    `json:"limit"`
}

// MembersAnswer is what one process has of them.
type MembersAnswer struct {
	Total   int          `json:"total"`
	Members []memberInfo `json:"members"`
}

type memberInfo struct {
	ID  string `json:"id"`
	UID []byte `json:"uid,omitempty"`
}

// Room is how many of n members may be offered.
func (q *MembersQuery) Room(n int) int { return min(n, max(q.Limit, 0), MaxMembers) }

// Add lists a member. With false the uids are too many bytes, and it is left out.
func (a *MembersAnswer) Add(id, uid string, size *int) bool {
	if *size += len(uid); *size > maxListed {
		return false
	}
	a.Members = append(a.Members, memberInfo{id, []byte(uid)})
	return true
}

// Members adds up what the processes answer: up to Limit members, none twice.
type Members struct {
	Limit int
	List  []Member
	Total int
	seen  map[string]bool
}

// Add takes an answer in.
func (m *Members) Add(a MembersAnswer) {
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	m.Total += a.Total
	for _, one := range a.Members {
		if len(m.List) < m.Limit && !m.seen[one.ID] { // one that moves may be told twice
			m.seen[one.ID] = true
			m.List = append(m.List, Member{one.ID, string(one.UID)})
		}
	}
}

// SessionQuery asks for a session value of a connection.
type SessionQuery struct {
	ID  string `json:"id"`
	Key []byte `json:"key"`
}

// SessionAnswer is the answer of a process.
type SessionAnswer struct {
	Found bool   `json:"found"`
	Value []byte `json:"value,omitempty"`
}

// HandlerQuestion is the bus.Query.What of a question to the handlers.
const HandlerQuestion = "handler"

// HandlerQuery are its arguments.
type HandlerQuery struct {
	What string `json:"what"`
	Args []byte `json:"args,omitempty"`
}
