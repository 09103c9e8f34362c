package pusher

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Names of events that both sides use.
const (
	EventSubscribe   = "pusher:subscribe"
	EventUnsubscribe = "pusher:unsubscribe"
	EventSignin      = "pusher:signin"
	EventPing        = "pusher:ping"
	EventPong        = "pusher:pong"
	EventSucceeded   = "pusher_internal:subscription_succeeded"
	EventCount       = "pusher_internal:subscription_count"
)

// Pong answers a ping. Not to be changed.
var Pong = []byte(`{"event":"pusher:pong","data":"{}"}`)

// Event returns an event as members of a channel get it. data is text, which
// the client parses as JSON if it can.
func Event(event, channel, data string) []byte {
	return RawEvent(event, channel, AppendString(make([]byte, 0, len(data)+len(data)/8+2), data), Member{})
}

// RawEvent is Event for data that is JSON already: a string when a back end
// sends it, anything from a client. Of the sender only the id is told, if there
// is one.
func RawEvent(event, channel string, data json.RawMessage, from Member) []byte {
	b := make([]byte, 0, len(event)+len(channel)+len(data)+len(from.ID)+48)
	b = append(b, `{"event":`...)
	b = AppendString(b, event)
	if channel != "" {
		b = append(b, `,"channel":`...)
		b = AppendString(b, channel)
	}
	if len(data) > 0 {
		b = append(b, `,"data":`...)
		b = append(b, data...)
	}
	if from.ID != "" {
		b = append(b, `,"user_id":`...)
		b = from.AppendID(b)
	}
	return append(b, '}')
}

// Established greets a new connection. timeout is in seconds.
func Established(socketID string, timeout int) []byte {
	data := make([]byte, 0, 80)
	data = append(data, `{"socket_id":`...)
	data = AppendString(data, socketID)
	data = append(data, `,"activity_timeout":`...)
	data = strconv.AppendInt(data, int64(timeout), 10)
	return Event("pusher:connection_established", "", string(append(data, '}')))
}

// Error tells what a client did wrong; code 0 is sent as null.
func Error(code int, message string) []byte {
	b := []byte(`{"event":"pusher:error","data":{"code":`)
	if code == 0 {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, int64(code), 10)
	}
	b = append(b, `,"message":`...)
	return append(AppendString(b, message), "}}"...)
}

// SubscriptionError refuses a subscription: kind "AuthError" with status 401,
// "LimitReached" with 403, "InvalidChannel" with 400.
func SubscriptionError(channel, kind, message string, status int) []byte {
	b := []byte(`{"event":"pusher:subscription_error","channel":`)
	b = AppendString(b, channel)
	b = append(b, `,"data":{"type":`...)
	b = AppendString(b, kind)
	b = append(b, `,"error":`...)
	b = AppendString(b, message)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	return append(b, "}}"...)
}

// Succeeded confirms a subscription to a channel without presence.
func Succeeded(channel string) []byte { return Event(EventSucceeded, channel, "{}") }

// SigninSuccess confirms a sign-in with the text that was signed.
func SigninSuccess(userData string) []byte {
	data := AppendString([]byte(`{"user_data":`), userData)
	return Event("pusher:signin_success", "", string(append(data, '}')))
}

// SubscriptionCount tells how many connections a channel has.
func SubscriptionCount(channel string, n int) []byte {
	return Event(EventCount, channel, `{"subscription_count":`+strconv.Itoa(n)+`}`)
}

// CacheMiss tells a subscriber that its cache channel has no last event.
func CacheMiss(channel string) []byte { return RawEvent("pusher:cache_miss", channel, nil, Member{}) }

// Watch is one entry of a watchlist event.
type Watch struct {
	Name    string   `json:"name"` // "online" or "offline"
	UserIDs []string `json:"user_ids"`
}

// Watchlist tells a user which of those that it watches came or went.
func Watchlist(events ...Watch) []byte {
	data := []byte(`{"events":[`)
	for i, e := range events {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, `{"name":`...)
		data = AppendString(data, e.Name)
		data = append(data, `,"user_ids":[`...)
		for j, id := range e.UserIDs {
			if j > 0 {
				data = append(data, ',')
			}
			data = AppendString(data, id)
		}
		data = append(data, "]}"...)
	}
	return Event("pusher_internal:watchlist_events", "", string(append(data, "]}"...)))
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string, in as few bytes as are allowed; what
// is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
