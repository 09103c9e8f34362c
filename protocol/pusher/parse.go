package pusher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Errors of the parsers tell the client what is wrong with its message. They
// quote nothing that it has sent.
var (
	errNotJSON   = errors.New("the message is not a JSON object in UTF-8")
	errNoEvent   = errors.New("the message has no event")
	errChannel   = errors.New("channel must be a string")
	errData      = errors.New("data must be an object, or a string that holds one")
	errText      = errors.New("auth, channel_data and user_data must be strings")
	errRecover   = errors.New("recover must be a string")
	errUserID    = fmt.Errorf("user_id must be a string or a number of at most %d characters", MaxUserID)
	errMember    = errors.New("channel_data must be a JSON object with a user_id")
	errUser      = errors.New("user_data must be a JSON object with an id that is a non-empty string")
	errWatchlist = errors.New("watchlist must be a list of user ids")
)

// ErrWatchlist is a watchlist of more than MaxWatchlist users: the sign-in
// counts, the list does not.
var ErrWatchlist = fmt.Errorf("the watchlist has more than %d users", MaxWatchlist)

// Message is what a client sends. Data aliases what was parsed.
type Message struct {
	Event   string
	Channel string
	Data    json.RawMessage // absent: nil
}

// Parse reads a client's message. Names of fields are taken as they are
// written, not in any case; unknown ones are ignored.
func Parse(b []byte) (m Message, err error) {
	fields, err := object(b)
	if err != nil || !utf8.Valid(b) {
		return m, errNotJSON
	}
	if m.Event, err = str(fields["event"], errNoEvent); err != nil || m.Event == "" {
		return m, errNoEvent
	}
	if m.Channel, err = str(fields["channel"], errChannel); err != nil {
		return m, err
	}
	m.Data = fields["data"]
	return m, nil
}

// Subscribe is the data of pusher:subscribe and pusher:unsubscribe.
type Subscribe struct {
	Channel     string
	Auth        string // "" = none
	ChannelData string // as it was signed; "" = none
	Recover     string // position behind which the client has missed something; "" = none
}

// ParseSubscribe reads it.
func ParseSubscribe(data json.RawMessage) (s Subscribe, err error) {
	fields, err := nested(data)
	if err != nil {
		return s, err
	}
	if s.Channel, err = str(fields["channel"], errChannel); err != nil || s.Channel == "" {
		return s, errChannel
	}
	if s.Auth, err = str(fields["auth"], errText); err != nil {
		return s, err
	}
	if s.ChannelData, err = str(fields["channel_data"], errText); err != nil {
		return s, err
	}
	s.Recover, err = str(fields["recover"], errRecover)
	return s, err
}

// Signin is the data of pusher:signin.
type Signin struct {
	Auth     string
	UserData string // as it was signed
}

// ParseSignin reads it.
func ParseSignin(data json.RawMessage) (s Signin, err error) {
	fields, err := nested(data)
	if err != nil {
		return s, err
	}
	if s.Auth, err = str(fields["auth"], errText); err != nil {
		return s, err
	}
	s.UserData, err = str(fields["user_data"], errText)
	return s, err
}

// ParseMember reads channel_data: {"user_id": …, "user_info": …}. user_info has
// at most maxInfo bytes; 0 = no limit.
func ParseMember(channelData string, maxInfo int) (m Member, err error) {
	fields, err := object([]byte(channelData))
	if err != nil {
		return m, errMember
	}
	if m.ID, m.Number, err = userID(fields["user_id"]); err != nil {
		return m, err
	}
	m.Info, err = userInfo(fields["user_info"], maxInfo)
	return m, err
}

// User is who signed in.
type User struct {
	Member
	Watchlist []string // users whose coming and going it wants to know
}

// ParseUser reads user_data: {"id": "…", "user_info": …, "watchlist": […]}. With
// ErrWatchlist the user is valid, its list empty. user_info has at most maxInfo
// bytes; 0 = no limit.
func ParseUser(userData string, maxInfo int) (u User, err error) {
	fields, err := object([]byte(userData))
	if err != nil {
		return u, errUser
	}
	if u.ID, err = str(fields["id"], errUser); err != nil || !ValidUserID(u.ID) {
		return u, errUser
	}
	if u.Info, err = userInfo(fields["user_info"], maxInfo); err != nil {
		return u, err
	}
	if raw := fields["watchlist"]; raw != nil && json.Unmarshal(raw, &u.Watchlist) != nil {
		return u, errWatchlist
	}
	for _, id := range u.Watchlist {
		if !ValidUserID(id) {
			return u, errWatchlist
		}
	}
	if len(u.Watchlist) > MaxWatchlist {
		u.Watchlist = nil
		return u, ErrWatchlist
	}
	return u, nil
}

// userID takes a number as its digits, since clients know members by strings.
func userID(raw json.RawMessage) (id string, number bool, err error) {
	id, err = str(raw, errUserID)
	if err != nil && json.Unmarshal(raw, new(json.Number)) == nil {
		id, number, err = string(raw), whole(raw), nil
	}
	if err != nil || !ValidUserID(id) {
		return "", false, errUserID
	}
	return id, number, nil
}

// whole reports whether a number is the same in every language: an integer that
// a double holds. Only then do its digits and the number name one member.
func whole(raw json.RawMessage) bool {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return err == nil && n > -1<<53 && n < 1<<53 && strconv.FormatInt(n, 10) == string(raw)
}

func userInfo(raw json.RawMessage, most int) (json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, errMember
	}
	if most > 0 && b.Len() > most {
		return nil, fmt.Errorf("user_info is longer than %d bytes", most)
	}
	return b.Bytes(), nil
}

// object splits a JSON object into its fields.
func object(b []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errNotJSON
	}
	return fields, nil
}

// nested is object for data, which may be a string that holds it.
func nested(data json.RawMessage) (map[string]json.RawMessage, error) {
	if len(data) > 0 && data[0] == '"' {
		s, err := str(data, errData)
		if err != nil {
			return nil, err
		}
		data = json.RawMessage(s)
	}
	fields, err := object(data)
	if err != nil {
		return nil, errData
	}
	return fields, nil
}

// str reads a string; null and nothing are "".
func str(raw json.RawMessage, wrong error) (s string, err error) {
	if raw == nil || string(raw) == "null" {
		return "", nil
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", wrong
	}
	return s, nil
}

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
