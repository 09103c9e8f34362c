package settings

import (
	"fmt"
	"strconv"
	"strings"
)

// RedirectHTTPS is the value of Settings.Redirect. Behind a NAT, where clients see
// another port than the listener's, that port follows: "https:443".
const RedirectHTTPS = "https"

// RedirectPort is the port that Redirect names; named is false when it names none.
func (s *Settings) RedirectPort() (port string, named bool, err error) {
	scheme, port, named := strings.Cut(s.Redirect, ":")
	if n, bad := strconv.ParseUint(port, 10, 16); scheme != RedirectHTTPS || named && (bad != nil || n == 0 || strconv.FormatUint(n, 10) != port) {
		return "", named, fmt.Errorf(`%q: write "https", or "https:443" with the port that clients see`, s.Redirect)
	}
	return port, named, nil
}
