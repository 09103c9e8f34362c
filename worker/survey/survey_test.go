package survey_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/bus"
	"github.com/pushd/pushd/worker/survey"
)

// TestPagesOfConnections fit a control message, whatever clients are called; each
// connection is on one, and what is too large has no channels.
func TestPagesOfConnections(t *testing.T) {
	const n = 250
	big := strings.Repeat("\u2028", survey.MaxEntry)
	var got []string
	pages, cursor := 0, ""
	for {
		p := survey.NewConns(survey.ConnQuery{Cursor: cursor})
		for i, offered := len(got), 0; i < n && offered < p.Wants(); i, offered = i+1, offered+1 {
			c := survey.ConnInfo{ID: fmt.Sprint(1000 + i), UID: "ann", Channels: []string{"room"}}
			if i%100 == 7 {
				c.UID, c.Channels = big, []string{big}
			}
			if !p.Add(c) {
				break
			}
		}
		raw, err := control.Marshal(p.Page())
		if err != nil || len(raw) > 100<<10 {
			t.Fatalf("a page of %d bytes, %v", len(raw), err)
		}
		var page survey.ConnPage
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Connections {
			if large := len(got)%100 == 7; large != (len(c.Channels) == 0) || large != (c.UID != "ann") || len(c.UID) > 210 {
				t.Errorf("%s: %d bytes of uid, %d channels", c.ID, len(c.UID), len(c.Channels))
			}
			got = append(got, c.ID)
		}
		pages++
		if cursor = page.Cursor; cursor == "" {
			break
		}
		if cursor != got[len(got)-1] {
			t.Fatalf("cursor %s behind %s", cursor, got[len(got)-1])
		}
	}
	if len(got) != n || !slices.IsSorted(got) || pages < 3 {
		t.Errorf("%d of %d on %d pages", len(got), n, pages)
	}
}

func TestPagesOfChannels(t *testing.T) {
	var all []string
	for i := range 230 {
		all = append(all, fmt.Sprintf("room.%03d", (i*7)%230), fmt.Sprintf("else.%d", i))
	}
	read := func(q survey.ChannelQuery) (names []string, pages int) {
		for {
			p := survey.NewChannels(q)
			for _, name := range all {
				p.Offer(name)
			}
			page := p.Page(func(name string) int { return len(name) })
			for _, c := range page.Channels {
				if c.Members != len(c.Name) {
					t.Errorf("%+v", c)
				}
				names = append(names, c.Name)
			}
			pages++
			if q.Cursor = page.Cursor; q.Cursor == "" {
				return names, pages
			}
		}
	}
	if names, pages := read(survey.ChannelQuery{Prefix: "room."}); len(names) != 230 || !slices.IsSorted(names) || pages != 3 {
		t.Errorf("%d names on %d pages", len(names), pages)
	}
	if names, pages := read(survey.ChannelQuery{Prefix: "room.", Limit: 50}); len(names) != 230 || pages != 5 {
		t.Errorf("limit 50: %d names on %d pages", len(names), pages)
	}
	if names, _ := read(survey.ChannelQuery{Limit: 1000}); len(names) != 460 {
		t.Errorf("%d names of all", len(names))
	}
	all = []string{strings.Repeat("a", 40<<10), strings.Repeat("b", 40<<10), strings.Repeat("c", 40<<10)}
	if names, pages := read(survey.ChannelQuery{}); len(names) != 3 || pages != 2 {
		t.Errorf("long names: %d on %d pages", len(names), pages)
	}
}

func TestOnline(t *testing.T) {
	q := survey.NewOnlineQuery([]string{"ann", "bob", "ann", "\xff"})
	online := map[string]int{}
	q.Add(online, []int{1, 0, 1, 2})
	q.Add(online, []int{2, 0, 2, 0, 9}) // one that says too much
	q.Add(online, []int{4})
	if want := map[string]int{"ann": 7, "\xff": 2}; !maps.Equal(online, want) {
		t.Errorf("%v, want %v", online, want)
	}
}

func TestMembersOfManyProcesses(t *testing.T) {
	q := survey.MembersQuery{Limit: 3}
	if q.Room(10) != 3 || q.Room(2) != 2 || (&survey.MembersQuery{Limit: -1}).Room(2) != 0 || (&survey.MembersQuery{Limit: 1 << 20}).Room(1<<20) != survey.MaxMembers {
		t.Error("room")
	}
	one, two := survey.MembersAnswer{Total: 2}, survey.MembersAnswer{Total: 5}
	size := 0
	for _, id := range []string{"1.1", "1.2"} {
		if !one.Add(id, "ann", &size) {
			t.Error("two do not fit")
		}
	}
	size = 0
	for _, id := range []string{"1.2", "2.1", "2.2"} {
		two.Add(id, "bob", &size)
	}
	if two.Add("2.3", strings.Repeat("x", 1<<20), &size) || len(two.Members) != 3 {
		t.Error("a uid of 1 MiB is listed")
	}
	m := survey.Members{Limit: 3}
	m.Add(one)
	m.Add(two)
	if fmt.Sprint(m.List) != "[{1.1 ann} {1.2 ann} {2.1 bob}]" || m.Total != 7 {
		t.Errorf("%v of %d", m.List, m.Total)
	}
}

func TestStatsOfThoseWhoKnow(t *testing.T) {
	data, err := json.Marshal(survey.Stats{Connections: 5})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range survey.StatsOf([]bus.Answer{
		{Worker: "a/10/1", Data: data}, {Worker: "a/2/2", Data: data}, {Worker: "a/2/1", Data: data}, {Worker: "n/a/0/1", Data: data},
		{Worker: "a/1/1", Error: "not now"}, {Worker: "nonsense", Data: data}, {Worker: "a/3/1", Data: []byte("{")},
	}) {
		got = append(got, fmt.Sprint(s.Node, s.Name, s.Slot, s.Generation, s.Connections))
	}
	if all := strings.Join(got, ","); all != "a2 1 5,a2 2 5,a10 1 5,na0 1 5" {
		t.Error(all)
	}
}
