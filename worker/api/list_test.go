package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestConnectionsInPages(t *testing.T) {
	st := newStage(t)
	var all []string
	add := func(worker string, n int) {
		var conns []*fakeConn
		for i := range n {
			// Numbers of different lengths: their order is not that of the text.
			id := fmt.Sprintf("%d.%d", (i*7919+len(all))%20000, len(all)+i)
			all = append(all, id)
			conns = append(conns, conn(id, fmt.Sprint(i%2), "room"))
		}
		st.worker(worker, conns...)
	}
	add("push/0/1", 250)
	add("push/1/1", 3)
	add("other/0/1", 400)
	add("push/2/1", 0)
	slices.SortFunc(all, compareIDs)

	walk := func(query string, limit int) []string {
		t.Helper()
		var ids []string
		for cursor := ""; ; {
			status, body := st.call("GET", fmt.Sprintf("/v1/connections?limit=%d&cursor=%s&%s", limit, url.QueryEscape(cursor), query), "")
			var page ConnPage
			if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 || !page.Complete || len(page.Connections) > limit {
				t.Fatalf("%d %v %.200s", status, err, body)
			}
			for _, c := range page.Connections {
				ids = append(ids, c.ID)
			}
			if cursor = page.Cursor; cursor == "" {
				return ids
			}
			if len(page.Connections) != limit {
				t.Errorf("a page of %d, more to come, limit %d", len(page.Connections), limit)
			}
		}
	}
	for _, limit := range []int{1, 7, 100, 653, 1000} {
		if got := walk("", limit); !slices.Equal(got, all) {
			t.Errorf("limit %d: %d ids, want %d in order", limit, len(got), len(all))
		}
	}
	if got := walk("worker=push", 100); len(got) != 253 {
		t.Errorf("worker=push: %d", len(got))
	}
	if got := walk("uid=1&channel=room&ip=127.0.0.1", 100); len(got) != 125+1+200 {
		t.Errorf("uid=1: %d", len(got))
	}
	if got := walk("ip=10.0.0.1", 100); len(got) != 0 {
		t.Errorf("ip of nobody: %d", len(got))
	}
	st.want("GET", "/v1/connections?uid=nobody", "", 200, `{"connections":[],"cursor":"","complete":true}`)
}

func TestChannelsAreMerged(t *testing.T) {
	st := newStage(t)
	want := map[string]int{}
	for w := range 3 {
		var conns []*fakeConn
		for i := range 150 {
			name := fmt.Sprintf("room-%d", i*(w+1))
			want[name]++
			conns = append(conns, conn(fmt.Sprintf("%d.%d", w, i), "", name))
		}
		st.worker(fmt.Sprintf("push/%d/1", w), conns...)
	}
	got := map[string]int{}
	var names []string
	for cursor := ""; ; {
		_, body := st.call("GET", "/v1/channels?prefix=room&limit=110&cursor="+cursor, "")
		var page channelsResult
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Channels {
			got[c.Name] += c.Members
			names = append(names, c.Name)
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if !slices.IsSorted(names) || len(names) != len(want) {
		t.Errorf("%d names, want %d in order", len(names), len(want))
	}
	_, body := st.call("GET", "/v1/channels?prefix=room-14&limit=2", "")
	if !strings.HasPrefix(body, `{"channels":[{"name":"room-14","members":2},{"name":"room-140","members":2}],"cursor":"`) {
		t.Error(body)
	}
}
