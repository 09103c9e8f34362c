package pusher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// App is an application of the Pusher protocol: channels and users of its own,
// and the credentials for them. It is immutable once the processes run.
type App struct {
	ID     string `json:"id"`     // in the paths of the HTTP API and in names on the bus
	Key    string `json:"key"`    // public: clients connect with it
	Secret string `json:"secret"` // signs; only back ends know it

	Disabled bool `json:"disabled,omitempty"` // connections get 4003, API requests 403

	MaxConnections     int `json:"max_connections"`      // in all processes together; 0 = no limit
	MaxChannels        int `json:"max_channels"`         // that one connection may hold; 0 = no limit
	MaxPresenceMembers int `json:"max_presence_members"` // users in a presence channel; 0 = no limit
	MaxEvent           int `json:"max_event"`            // bytes of an event's data; 0 = no limit
	MaxMember          int `json:"max_member_size"`      // bytes of a member's user_info; 0 = as many as a session holds

	ClientEvents    bool `json:"client_events,omitempty"` // clients may send client-* events
	ClientEventRate int  `json:"client_event_rate"`       // of a connection in a second; 0 = no limit

	// SubscriptionRate is how many channels a connection may subscribe to and
	// leave in a second; 0 = no limit. As many as it may hold it may at once.
	SubscriptionRate int `json:"subscription_rate"`

	// SubscriptionCount sends pusher_internal:subscription_count to the
	// members of channels that have no presence.
	SubscriptionCount bool `json:"subscription_count,omitempty"`

	// Mercure has the hub of the app (handler mercure, option app) get what is said
	// in its channels, and the other way round.
	Mercure bool `json:"mercure,omitempty"`

	// ActivityTimeout is what clients are told: after that much silence they
	// send a ping. Whole seconds, at least one.
	ActivityTimeout time.Duration `json:"activity_timeout"`

	// AnonymousTimeout closes whoever has neither signed in nor subscribed to a
	// private or presence channel by then, with 4009; 0 = never.
	AnonymousTimeout time.Duration `json:"anonymous_timeout,omitempty"`

	Webhooks []Webhook `json:"webhooks,omitempty"`
}

// Webhook is an endpoint that learns of an app's events.
type Webhook struct {
	URL     string            `json:"url"`
	Events  []string          `json:"events,omitempty"`  // empty: all
	Headers map[string]string `json:"headers,omitempty"` // sent along

	// Of channels only those whose names begin, and end, with one of these; an
	// empty list leaves out nobody. What is of no channel is told to endpoints
	// without either only.
	StartsWith []string `json:"channel_name_starts_with,omitempty"`
	EndsWith   []string `json:"channel_name_ends_with,omitempty"`
}

// DefaultApp returns an app without credentials and with the default limits.
func DefaultApp() App {
	return App{
		MaxChannels: 200, MaxPresenceMembers: 100, MaxEvent: 10 << 10, MaxMember: 1 << 10,
		ClientEventRate: 10, SubscriptionRate: 500, ActivityTimeout: 120 * time.Second,
	}
}

// Wants reports whether the endpoint is to be told of events of that name.
func (h *Webhook) Wants(event string) bool {
	return len(h.Events) == 0 || slices.Contains(h.Events, event)
}

// Concerns reports whether the endpoint is to be told of a channel; "" = of what
// is of none.
func (h *Webhook) Concerns(channel string) bool {
	begins := func(s string) bool { return strings.HasPrefix(channel, s) }
	ends := func(s string) bool { return strings.HasSuffix(channel, s) }
	return (len(h.StartsWith) == 0 || slices.ContainsFunc(h.StartsWith, begins)) &&
		(len(h.EndsWith) == 0 || slices.ContainsFunc(h.EndsWith, ends))
}

// Hooks reports whether any endpoint is to be told of events of that name.
func (a *App) Hooks(event string) bool {
	return slices.ContainsFunc(a.Webhooks, func(h Webhook) bool { return h.Wants(event) })
}

// HookEvents are the names that Webhook.Events may hold: those of the Pusher
// protocol, and the beginning and end of each connection.
var HookEvents = []string{
	"channel_occupied", "channel_vacated", "member_added", "member_removed",
	"client_event", "cache_miss", "subscription_count", "connected", "disconnected",
}

// maxAppName bounds ids and keys, in bytes.
const maxAppName = 128

// MaxEventData bounds App.MaxEvent: a publication carries twice as much, since
// text may grow when it is escaped.
const MaxEventData = 512 << 10

// MaxMemberSize bounds App.MaxMember: a connection holds 64 KiB of session
// values, and the list of a channel's members is one message.
const MaxMemberSize = 32 << 10

// Validate finds what is wrong with the app.
func (a *App) Validate() error { return errors.Join(a.Faults()...) }

// Faults are all that is wrong with the app. Their messages hold no secret.
func (a *App) Faults() (errs []error) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(a.ID == "" || a.Key == "" || a.Secret == "", "an app needs id, key and secret")
	wrong(!appName(a.ID), "id %q: use up to %d letters, digits, '.', '_' and '-'", a.ID, maxAppName)
	wrong(!appName(a.Key), "key: use up to %d letters, digits, '.', '_' and '-'", maxAppName)
	wrong(a.MaxMember < 0 || a.MaxConnections < 0 || a.MaxChannels < 0 || a.MaxPresenceMembers < 0 || a.MaxEvent < 0 ||
		a.ClientEventRate < 0 || a.SubscriptionRate < 0, "a limit is negative: 0 means no limit")
	wrong(a.MaxEvent > MaxEventData, "max_event is over %d KiB, which is the most that a publication carries", MaxEventData>>10)
	wrong(a.MaxMember > MaxMemberSize, "max_member_size is over %d KiB, which is the most that a connection holds beside the rest", MaxMemberSize>>10)
	wrong(a.AnonymousTimeout < 0 || a.AnonymousTimeout > 0 && a.AnonymousTimeout < time.Second, "anonymous_timeout: at least one second, or 0 for never")
	wrong(a.ActivityTimeout < time.Second || a.ActivityTimeout%time.Second != 0, "activity_timeout: whole seconds, at least one")
	for i, h := range a.Webhooks {
		wrong(slices.ContainsFunc(a.Webhooks[:i], func(o Webhook) bool { return o.URL == h.URL }),
			"webhooks: two have the same url, whose events would wait in one file: list the events of both in one")
		for _, e := range h.Events {
			wrong(!slices.Contains(HookEvents, e), "webhooks: there is no event %q, but %s", e, strings.Join(HookEvents, ", "))
		}
		wrong(slices.Contains(h.StartsWith, "") || slices.Contains(h.EndsWith, ""),
			"webhooks: an empty text begins and ends every channel's name: leave it out")
	}
	return errs
}

// appName keeps ids and keys to what stands in a path and before the ":" of
// names and signatures.
func appName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(s) <= maxAppName
}

// CheckApps finds apps that are not valid, or share an id or a key.
func CheckApps(apps []App) error {
	ids, keys := map[string]bool{}, map[string]bool{}
	for i := range apps {
		a := &apps[i]
		switch err := a.Validate(); {
		case err != nil:
			return fmt.Errorf("app %q: %w", a.ID, err)
		case ids[a.ID] || keys[a.Key]:
			return fmt.Errorf("app %q: another one has its id or key", a.ID)
		}
		ids[a.ID], keys[a.Key] = true, true
	}
	return nil
}
