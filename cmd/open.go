package cmd

import (
	"net/netip"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// pages are the addresses that a browser on this machine can open: of each
// group that has something to show at "/".
func pages(cfg *config.Config, s master.Started) (urls []string) {
	for _, w := range cfg.Workers {
		if !hasPage(w) {
			continue
		}
		for _, g := range s.Groups {
			if g.Name == w.Name {
				urls = append(urls, urlsOf(g.Listen)...)
			}
		}
	}
	return urls
}

// hasPage reports whether "/" is a page: of the handlers that we know, demo
// alone answers a browser there.
func hasPage(w config.Worker) bool {
	for _, r := range w.Routes {
		if r.Pattern == "/" && r.Handler == "demo" {
			return true
		}
	}
	return false
}

// urlsOf turns listeners into what is typed into a browser.
func urlsOf(listen []string) (urls []string) {
	for _, addr := range listen {
		_, at, _ := strings.Cut(addr, "://")
		page := map[string]string{"http": "http", "websocket": "http", "http+tls": "https", "websocket+tls": "https"}[config.Scheme(addr)]
		if host, err := netip.ParseAddrPort(at); err == nil && page != "" {
			urls = append(urls, page+"://"+reachable(host).String()+"/")
		}
	}
	return urls
}

// reachable is an address that a browser here can connect to.
func reachable(a netip.AddrPort) netip.AddrPort {
	switch a.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a
}
