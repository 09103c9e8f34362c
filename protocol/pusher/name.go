package pusher

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// userChannel begins the name of the channel to one user.
const userChannel = "#server-to-user-"

// ValidChannel reports whether name is that of a channel that clients may
// subscribe to by signature or freely. It has no ":", so that the strings that
// are signed cannot be confused: check it before any signature.
func ValidChannel(name string) bool {
	if name == "" || len(name) > MaxChannel {
		return false
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-_=@,.;", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// UserChannel returns the name of the channel to a user's connections.
func UserChannel(id string) string { return userChannel + id }

// UserOf returns the user that a channel's name is for, if it is for one.
func UserOf(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, userChannel)
	return id, ok && ValidUserID(id)
}

// ValidUserID reports whether id may be that of a user.
func ValidUserID(id string) bool {
	return id != "" && len(id) <= 4*MaxUserID && utf8.ValidString(id) && utf8.RuneCountInString(id) <= MaxUserID &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// NeedsAuth reports whether a subscription to the channel is signed.
func NeedsAuth(name string) bool {
	return strings.HasPrefix(name, "private-") || IsPresence(name)
}

// IsPresence reports whether the members of the channel know each other.
func IsPresence(name string) bool { return strings.HasPrefix(name, "presence-") }

// IsEncrypted reports whether only the customer's programs can read the data.
func IsEncrypted(name string) bool { return strings.HasPrefix(name, "private-encrypted-") }

// IsCache reports whether a new subscriber gets the channel's last event.
func IsCache(name string) bool {
	for _, prefix := range [...]string{"private-encrypted-", "private-", "presence-"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name = rest
			break
		}
	}
	return strings.HasPrefix(name, "cache-")
}

// TakesClientEvents reports whether clients may send to the channel's members.
func TakesClientEvents(name string) bool { return NeedsAuth(name) && !IsEncrypted(name) }

// ValidEvent reports whether a back end may send an event of that name. Names
// of the protocol's own are refused.
func ValidEvent(name string) bool {
	return name != "" && len(name) <= MaxEventName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, unicode.IsControl) &&
		!strings.HasPrefix(name, "pusher:") && !strings.HasPrefix(name, "pusher_internal:")
}

// IsClientEvent reports whether clients may send an event of that name.
func IsClientEvent(name string) bool { return strings.HasPrefix(name, "client-") && ValidEvent(name) }
