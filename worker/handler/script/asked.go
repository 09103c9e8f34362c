package script

import (
	"bytes"
	"fmt"
	nethttp "net/http"
	"slices"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

// A program may read requests of HTTP out of the bytes of its clients itself, as Workerman's
// of http:// do. pushd knows of an answer then whether it has begun. Who has got nothing of
// it when the end of a process closes him gets the answer that pushd's own requests get.

// asks notes a request, with how much its client had been sent before.
func (h *handler) asks(c *worker.Conn, data []byte) {
	if scheme := c.Protocol(); (scheme == "tcp" || scheme == "unix") && isRequest(data) {
		h.askers[c.Number()] = sent(c)
	}
}

// isRequest reports whether bytes begin with the first line of a request.
func isRequest(data []byte) bool {
	if len(data) == 0 || data[0] < 'A' || data[0] > 'Z' {
		return false
	}
	line, _, whole := bytes.Cut(data, []byte("\r\n"))
	words := bytes.Split(line, []byte(" "))
	return whole && len(words) == 3 && bytes.HasPrefix(words[2], []byte("HTTP/1."))
}

// sent is how many messages a client has been sent.
func sent(c *worker.Conn) uint64 {
	_, out, _, _ := c.Counters()
	return out
}

// waits reports whether a client has got nothing of the answer to what it has asked.
func (h *handler) waits(c *worker.Conn) bool {
	before, asked := h.askers[c.Number()]
	return asked && sent(c) == before
}

// excuse answers for the program a client who waits, whom the caller closes, and reports
// whether he did.
func (h *handler) excuse(c *worker.Conn, status int) bool {
	if !h.waits(c) {
		return false
	}
	delete(h.askers, c.Number())
	h.excused++
	again := ""
	if status == nethttp.StatusServiceUnavailable {
		again = "Retry-After: 1\r\n"
	}
	_ = c.Send(worker.Message{Binary: true, Data: fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", status, nethttp.StatusText(status), again)})
	return true
}

// excuseAll does so for all who wait, since the worker ends.
func (h *handler) excuseAll() {
	for n := range h.askers {
		if c := h.clients.Find(h.w, n); c != nil && h.excuse(c, nethttp.StatusServiceUnavailable) {
			c.Close(1001, "")
		}
	}
	h.tellExcused(nethttp.StatusServiceUnavailable)
}

// tellExcused says how many requests have been answered for the program since it was last said.
func (h *handler) tellExcused(status int) {
	if h.excused > 0 {
		h.log.Warn("requests that the script process has not answered are answered for it, or cut where the answer had begun", "script", h.title(), "requests", h.excused, "status", status)
	}
	h.excused = 0
}

// appendAsked appends who waits, for another worker process.
func (h *handler) appendAsked(b []byte) []byte {
	var list []uint64
	for n := range h.askers {
		if c := h.clients.Find(h.w, n); c != nil && h.waits(c) {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return b
	}
	slices.Sort(list)
	return wire.AppendCarry(b, wire.Request, list, nil)
}

// unpackAsked takes over what appendAsked has appended. Their connections are there.
func (h *handler) unpackAsked(list wire.Numbers) {
	for i := range list.Len() {
		if c := h.clients.Find(h.w, list.At(i)); c != nil {
			h.askers[list.At(i)] = sent(c)
		}
	}
}
