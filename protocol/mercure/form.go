package mercure

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"
)

// pairs calls visit for the pairs of application/x-www-form-urlencoded, as the
// URL standard parses it, until that returns an error.
func pairs(s string, visit func(name, value string) error) error {
	for s != "" {
		pair, rest, _ := strings.Cut(s, "&")
		s = rest
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if err := visit(formText(name), formText(value)); err != nil {
			return err
		}
	}
	return nil
}

func formText(s string) string { return unescape(strings.ReplaceAll(s, "+", " ")) }

// Update is what a publisher sends.
type Update struct {
	Topics  []string // the first is the canonical one
	Data    string
	Private bool
	ID      string // as the publisher has it, "" = none; the hub gives its own
	Type    string
	Retry   time.Duration
}

// What is wrong with a form that is sent, beside what is malformed.
var (
	ErrMedia = errors.New("the content type must be application/x-www-form-urlencoded in UTF-8")
	ErrSize  = errors.New("a field is too long, or there are too many topics")
)

// CheckMedia judges the Content-Type of a form.
func CheckMedia(contentType string) error {
	media, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	if err != nil || media != "application/x-www-form-urlencoded" || given && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return ErrMedia
	}
	return nil
}

// ParseUpdate reads the form of a publish. An error that is ErrSize means that it
// is over a limit, any other that it is malformed. maxData bounds the data.
func (h *Hub) ParseUpdate(body string, maxData int) (u Update, err error) {
	seen := map[string]bool{}
	err = pairs(body, func(name, value string) error {
		if name != "topic" && seen[name] {
			return nil // of a field that stands twice the first counts
		}
		switch name {
		case "topic", "data", "private", "id", "type", "retry":
			seen[name] = true
			return u.field(h, name, value, maxData)
		}
		return nil
	})
	if err == nil && len(u.Topics) == 0 {
		err = errors.New("field topic is missing")
	}
	return u, err
}

// field reads one field.
func (u *Update) field(h *Hub, name, value string, maxData int) (err error) {
	switch name {
	case "topic":
		return u.topic(h, value)
	case "data":
		if u.Data = value; len(value) > maxData {
			return ErrSize
		}
		if !utf8.ValidString(value) {
			err = errUTF8
		}
	case "private":
		u.Private = true
	case "id":
		u.ID = value
		err = checkID(value)
	case "type":
		if u.Type = value; value == EventType {
			err = errors.New(`"mercure" is the hub's own`)
		} else {
			err = checkField(value)
		}
	case "retry":
		u.Retry, err = parseRetry(value)
	}
	if err != nil && !errors.Is(err, ErrSize) {
		return fmt.Errorf("field %s: %w", name, err)
	}
	return err
}

func (u *Update) topic(h *Hub, name string) error {
	switch err := CheckTopic(name); {
	case len(u.Topics) == MaxTopics, errors.Is(err, errLong):
		return ErrSize
	case err != nil:
		return fmt.Errorf("field topic: %w", err)
	case name == Wildcard:
		return errors.New(`field topic: "*" is reserved`)
	}
	t := h.Topic(name)
	if h.Reserved(&t) {
		return errors.New("field topic: is in the namespace of the hub")
	}
	u.Topics = append(u.Topics, name)
	return nil
}

func checkField(s string) error {
	err := CheckText(s, MaxField)
	if errors.Is(err, errLong) {
		return ErrSize
	}
	return err
}

func checkID(s string) error {
	if strings.HasPrefix(s, "#") || s == Earliest {
		return errors.New("is reserved")
	}
	return checkField(s)
}

// maxRetry is more than anybody waits.
const maxRetry = 24 * time.Hour

func parseRetry(s string) (time.Duration, error) {
	if len(s) > MaxField {
		return 0, ErrSize
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, errors.New("must be digits")
		}
		n = min(n*10+int64(s[i]-'0'), maxRetry.Milliseconds())
	}
	if s == "" {
		return 0, errors.New("must be digits")
	}
	return time.Duration(n) * time.Millisecond, nil
}
