package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker"
)

// connections lists connections, page by page.
func connections(c *call) error {
	limit := c.flags.Int("limit")
	if limit < 0 {
		return misusef("--limit %d is negative", limit)
	}
	if ip := c.flags.String("ip"); ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return misusef("--ip %q is no address, such as 203.0.113.7", ip)
		}
	}
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := known(client, c.flags.String("node"), c.flags.String("worker")); err != nil {
		return err
	}
	q := master.ConnQuery{
		Node: c.flags.String("node"), Worker: c.flags.String("worker"), UID: c.flags.String("uid"),
		Channel: c.flags.String("channel"), IP: c.flags.String("ip"),
	}
	show := func(w io.Writer) error {
		list, complete, more, err := collect(client, q, limit)
		if err != nil {
			return err
		}
		if c.json() {
			return writeJSON(w, map[string]any{"connections": list, "complete": complete, "more": more})
		}
		return c.tellConnections(w, list, complete, more)
	}
	if c.flags.Bool("watch") {
		return c.watch(show)
	}
	return show(c.out)
}

// known fails if there is no node or no worker group of that name. Other nodes may have
// other groups.
func known(client *master.Client, node, group string) error {
	if node == "" && group == "" {
		return nil
	}
	s, err := getStatus(client)
	if err != nil {
		return err
	}
	if len(s.Nodes) > 0 {
		return knownNode(s, node)
	}
	return knownGroup(s, group)
}

func knownNode(s *master.Status, name string) error {
	names := []string{}
	for _, n := range s.Nodes {
		if n.Node == name || name == "" {
			return nil
		}
		names = append(names, n.Node)
	}
	return fmt.Errorf("there is no node %q, but %s", name, strings.Join(names, ", "))
}

func knownGroup(s *master.Status, name string) error {
	names := []string{}
	for _, w := range s.Workers {
		if w.Name == name || name == "" {
			return nil
		}
		if !slices.Contains(names, w.Name) {
			names = append(names, w.Name)
		}
	}
	return fmt.Errorf("there is no worker group %q, but %s", name, strings.Join(names, ", "))
}

// pageSize is what is asked for at once; the master takes up to 1,000.
const pageSize = 500

// collect asks for pages until limit connections are there, 0 = all.
func collect(client *master.Client, q master.ConnQuery, limit int) (list []json.RawMessage, complete, more bool, err error) {
	list, complete = []json.RawMessage{}, true
	for {
		q.Limit = pageSize
		if limit > 0 {
			q.Limit = min(pageSize, limit-len(list))
		}
		ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
		page, err := client.Connections(ctx, q)
		cancel()
		if err != nil {
			return nil, false, false, fmt.Errorf("ask the master for connections: %w", err)
		}
		list = append(list, page.Connections...)
		complete = complete && page.Complete
		q.Cursor = page.Cursor
		if q.Cursor == "" || limit > 0 && len(list) >= limit {
			return list, complete, q.Cursor != "", nil
		}
	}
}

func (c *call) tellConnections(w io.Writer, list []json.RawMessage, complete, more bool) error {
	t := newTable("NODE", "WORKER", ">PID", "PROTO", "IP", "UID", "PATH", ">AGE", ">IDLE", ">RECV-Q", ">SEND-Q", ">IN", ">OUT", "CHANNELS", "ID")
	several := false
	for _, raw := range list {
		var i worker.ConnInfo
		if err := json.Unmarshal(raw, &i); err != nil {
			return fmt.Errorf("read the master's list: %w", err)
		}
		several = several || i.Node != ""
		t.add(dash(clean(i.Node)), fmt.Sprintf("%s/%d", i.Worker, i.Slot), fmt.Sprint(i.PID), i.Protocol, i.IP, dash(cut(clean(i.UID), 24)), cut(clean(i.Path), 24),
			ageText(time.Since(i.Connected)), ageText(time.Duration(i.IdleS)*time.Second),
			bytesText(int64(i.RecvQueue)), bytesText(int64(i.SendQueue)), bytesText(int64(i.BytesIn)), bytesText(int64(i.BytesOut)),
			channelsText(i.Channels), i.ID)
	}
	if !several {
		t.drop("NODE")
	}
	if !c.flags.Bool("wide") {
		hidden := t.fit(screenWidth(c.out), "PROTO", "RECV-Q", "AGE", "IN", "PID", "CHANNELS", "OUT", "IDLE", "PATH", "SEND-Q")
		defer tellHidden(w, hidden)
	}
	t.write(w)
	if more {
		fmt.Fprintf(w, "… more than these %d; --limit 0 shows all\n", len(list))
	}
	if !complete {
		fmt.Fprintln(c.err, "a worker, or a node, did not answer: the list is not complete")
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// channelsText names the first channels and counts the others.
func channelsText(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	text := cut(clean(strings.Join(names[:min(2, len(names))], ",")), 24)
	if n := len(names) - 2; n > 0 {
		text += fmt.Sprintf(" +%d", n)
	}
	return text
}
