package worker

import (
	"strings"

	"github.com/pushd/pushd/worker/record"
)

// headers returns the values of all lines of a name, which is in lower case.
type headers func(lower string) []string

// believe takes the client's address and the host from the headers of a trusted
// proxy, and returns the host that the client asked for. What the request before
// on this connection has said is forgotten: it was another client's.
func (c *Conn) believe(host string, header headers) string {
	l := c.loop
	if len(l.proxies) == 0 {
		return host
	}
	peer := c.peer().Addr()
	if !l.proxies.Believed(peer) {
		c.remember(record.IP, "", "")
		return host
	}
	said, told := l.proxies.Read(peer, header), ""
	if said.Client != peer {
		told = said.Client.String()
	}
	c.remember(record.IP, "", told)
	switch list := header("x-forwarded-host"); len(list) {
	case 0:
		if said.Host != "" {
			return said.Host
		}
	case 1:
		if first, _, _ := strings.Cut(list[0], ","); strings.TrimSpace(first) != "" {
			return strings.TrimSpace(first)
		}
	}
	return host
}
