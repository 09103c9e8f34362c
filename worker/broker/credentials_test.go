package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// authority is an operator with one account, as `nsc` makes them.
type authority struct {
	t       *testing.T
	account nkeys.KeyPair
	config  string // of a server that believes it
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	must(t, err)
	account, err := nkeys.CreateAccount()
	must(t, err)
	name, err := operator.PublicKey()
	must(t, err)
	claims := jwt.NewOperatorClaims(name)
	claims.Name = "operator"
	own, err := claims.Encode(operator)
	must(t, err)
	id, err := account.PublicKey()
	must(t, err)
	of := jwt.NewAccountClaims(id)
	of.Name = "pushd"
	theirs, err := of.Encode(operator)
	must(t, err)
	return &authority{t, account, fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }\n", own, id, theirs)}
}

// user writes the credentials file of one who may use these subjects, and returns its
// path and the seed in it.
func (a *authority) user(expires time.Time, subjects ...string) (file, seed string) {
	a.t.Helper()
	user, err := nkeys.CreateUser()
	must(a.t, err)
	id, err := user.PublicKey()
	must(a.t, err)
	claims := jwt.NewUserClaims(id)
	claims.Name = "pushd"
	claims.Permissions.Pub.Allow.Add(subjects...)
	claims.Permissions.Sub.Allow.Add(subjects...)
	if !expires.IsZero() {
		claims.Expires = expires.Unix()
	}
	token, err := claims.Encode(a.account)
	must(a.t, err)
	secret, err := user.Seed()
	must(a.t, err)
	text, err := jwt.FormatUserConfig(token, secret)
	must(a.t, err)
	file = filepath.Join(a.t.TempDir(), "user.creds")
	must(a.t, os.WriteFile(file, text, 0o600))
	return file, string(secret)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCredentials: a server with an operator lets in who has a file of one of its
// users, and that one needs no right but to the subjects below the prefix.
func TestCredentials(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	ns := serverAt(t, "127.0.0.1:-1", a.config)
	var in inbox
	open := func(file string, in worker.Inbox, patience time.Duration) (*Client, error) {
		c, err := NewClient(Options{ID: "x", Node: "n", URL: "nats://" + ns.Addr().String(), Access: Access{Credentials: file},
			Logger: quiet(), StartTimeout: patience})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c, c.Start(in)
	}
	good, _ := a.user(time.Time{}, "pushd.>")
	c, err := open(good, &in, time.Minute)
	must(t, err)
	c.SetRoster([]string{})
	patient(t, c, message("room", "hello"))
	testkit.Eventually(t, "it has come", func() bool { return in.count() == 1 })
	if out, err := c.Collect(t.Context(), worker.BusQuery{What: "stats"}, Who{}, func(worker.Answer) {}); err != nil || !out.Complete {
		t.Errorf("a question to nobody: %+v, %v", out, err)
	}
	stranger, strangers := other.user(time.Time{}, "pushd.>")
	late, lates := a.user(time.Now().Add(-time.Hour), "pushd.>")
	for what, of := range map[string][2]string{
		"none": {}, "of another operator": {stranger, strangers}, "expired": {late, lates}, "not there": {good + ".old"},
	} {
		if _, err := open(of[0], nil, time.Second); err == nil || of[1] != "" && strings.Contains(err.Error(), of[1]) {
			t.Errorf("credentials %s: %v", what, err)
		}
	}
}

// TestRightsThatAreMissing are told: without those of the bus a client does not start, or
// says so once it is refused something; without those of JetStream the log is away by name.
func TestRightsThatAreMissing(t *testing.T) {
	ns := serverAt(t, "127.0.0.1:-1", fmt.Sprintf(`
jetstream { store_dir: %q }
authorization { users: [
  { user: "deaf", password: "x", permissions: { publish: ["pushd.>"], subscribe: ["_INBOX.>"] } }
  { user: "replies", password: "x", permissions: { publish: ["pushd.>"], subscribe: ["pushd.r.>"] } }
  { user: "dumb", password: "x", permissions: { publish: ["_INBOX.>"], subscribe: ["pushd.>"] } }
  { user: "bus", password: "x", permissions: { publish: ["pushd.>"], subscribe: ["pushd.>", "_INBOX.>"] } }
] }`, t.TempDir()))
	url := func(user string) string { return "nats://" + user + ":x@" + ns.Addr().String() }
	open := func(user string, in worker.Inbox) (*Client, error) {
		c, err := NewClient(Options{ID: "x", Node: "n", URL: url(user), Logger: quiet(), StartTimeout: time.Minute})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c, c.Start(in)
	}
	for _, r := range []struct {
		user   string
		in     worker.Inbox
		starts bool
	}{{"deaf", nil, false}, {"replies", nil, true}, {"replies", &inbox{}, false}, {"dumb", &inbox{}, true}, {"bus", &inbox{}, true}} {
		c, err := open(r.user, r.in)
		if (err == nil) != r.starts || err != nil && (!strings.Contains(err.Error(), "subscribe to pushd.>") || !strings.Contains(err.Error(), "Permissions Violation")) {
			t.Errorf("%s, who receives: %v: %v", r.user, r.in != nil, err)
		}
		if r.user != "dumb" {
			continue
		}
		testkit.Eventually(t, "it is known that nothing can be sent", func() bool {
			return c.Publish(message("room", "x")) == nil && c.Refused() != nil
		})
	}
	f := follow(t, url("bus"), "n")
	f.until("why there is no history", func() bool { return strings.Contains(f.away, "JetStream") && strings.Contains(f.away, "STREAM") })
	if err := f.c.Refused(); err != nil {
		t.Errorf("the bus is there: %v", err)
	}
}

// TestRightsThatComeBack: NATS takes subscriptions away with a right, and does not bring
// them back with it. A client that is refused something connects anew.
func TestRightsThatComeBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	grant := func(subscribe string) {
		t.Helper()
		text := `listen: "127.0.0.1:-1", authorization { users: [ { user: "u", password: "x", permissions: { publish: ["pushd.>"], subscribe: [%q] } } ] }`
		must(t, os.WriteFile(file, fmt.Appendf(nil, text, subscribe), 0o600))
	}
	grant("pushd.>")
	ns := serverOf(t, file)
	var in inbox
	c, err := NewClient(Options{ID: "x", Node: "n", URL: "nats://u:x@" + ns.Addr().String(), Logger: quiet(), StartTimeout: time.Minute})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.link.askRights = time.Millisecond
	must(t, c.Start(&in))
	grant("other.>")
	must(t, ns.Reload())
	testkit.Eventually(t, "it is known", func() bool { return c.Refused() != nil })
	grant("pushd.>")
	must(t, ns.Reload())
	testkit.Eventually(t, "it hears again", func() bool { _ = c.Publish(message("room", "x")); return c.Refused() == nil && in.count() > 0 })
}
