package survey

import (
	"slices"
	"strings"
)

// ChannelInfo is an entry of GET /v1/channels.
type ChannelInfo struct {
	Name    string `json:"name"`
	Members int    `json:"members"`
}

// ChannelQuery is the Args of the query "channels"; the answer is a
// ChannelPage in the order of names, so that pages of many processes merge.
type ChannelQuery struct {
	Prefix string `json:"prefix,omitempty"`
	Limit  int    `json:"limit,omitempty"`
	Cursor string `json:"cursor,omitempty"` // names after this one
}

// ChannelPage is the answer to a ChannelQuery.
type ChannelPage struct {
	Channels []ChannelInfo `json:"channels"`
	Cursor   string        `json:"cursor"`
}

// Channels puts a page together, of channels offered in any order. It keeps the first
// so many names instead of sorting all.
type Channels struct {
	q     ChannelQuery
	limit int
	names []string // the lowest, in order; one more than the page takes
}

// NewChannels begins a page for q.
func NewChannels(q ChannelQuery) *Channels { return &Channels{q: q, limit: limitOf(q.Limit)} }

// Offer tells of a channel.
func (p *Channels) Offer(name string) {
	if !strings.HasPrefix(name, p.q.Prefix) || name <= p.q.Cursor && p.q.Cursor != "" {
		return
	}
	if len(p.names) > p.limit && name > p.names[p.limit] {
		return
	}
	i, _ := slices.BinarySearch(p.names, name)
	if p.names = slices.Insert(p.names, i, name); len(p.names) > p.limit+1 {
		p.names = p.names[:p.limit+1]
	}
}

// Page returns what there is; members counts those of a channel.
func (p *Channels) Page(members func(name string) int) ChannelPage {
	page := ChannelPage{Channels: []ChannelInfo{}}
	size := 0
	for _, name := range p.names {
		if n := len(page.Channels); n == p.limit || n > 0 && size > maxBytes {
			page.Cursor = page.Channels[n-1].Name
			break
		}
		size += len(name)
		page.Channels = append(page.Channels, ChannelInfo{Name: name, Members: members(name)})
	}
	return page
}
