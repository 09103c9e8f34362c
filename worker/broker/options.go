package broker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/worker"
)

// Options say where the broker is and how much a client may hold. One of
// Path, URL and Server is needed.
type Options struct {
	// ID names the client to the broker and, in questions for one worker, to
	// the asker: of a worker the text of its control.Identity.
	ID string
	// Node is the name of this machine's pushd among those on the same
	// cluster. Default "": there is no other.
	Node string

	Path   string  // unix socket of the broker process; FDPath for a descriptor
	URL    string  // external cluster: "nats://user:secret@host:4222,nats://…"
	Server *Server // a server in this process
	Access Access  // to an external cluster

	// Ordered reports whether messages of the channel of that name are numbered:
	// they go to the history service, which publishes them. It is called by any
	// goroutine. Default nil: none are.
	Ordered func(channel string) bool
	// SharedHistory: such messages go to the service of this node alone, which
	// gives them to the log that all nodes share. Default: to that of each node.
	SharedHistory bool

	Prefix string       // first token of all subjects, default "pushd"
	Logger *slog.Logger // default slog.Default()

	// StartTimeout bounds how long Start tries to reach the broker.
	// Default 6 s, less than the master waits: so it hears the reason.
	StartTimeout time.Duration

	// The queue towards the broker; beyond it Publish returns ErrBrokerBusy.
	// Defaults 64 Ki publications and 64 MiB.
	QueueItems, QueueBytes int
	// The queue from the broker; beyond it publications are lost and counted
	// as gaps. Defaults 64 Ki publications and 64 MiB.
	InboxItems, InboxBytes int
}

// Access is what an external cluster asks of its clients, beside users and
// passwords in the URL. All are files, read at each connection; "" = none.
type Access struct {
	CA          string `json:"ca,omitempty"`          // certificates of authorities, PEM; default the machine's
	Cert        string `json:"cert,omitempty"`        // the client's, PEM
	CertKey     string `json:"cert_key,omitempty"`    // of Cert
	Credentials string `json:"credentials,omitempty"` // user JWT and seed, as nsc writes them
	NKey        string `json:"nkey,omitempty"`        // seed of a user
}

// authorities are those of a file, which an error names as ErrCA.
func authorities(file string) nats.Option {
	return func(o *nats.Options) error {
		if err := nats.RootCAs(file)(o); err != nil {
			return fmt.Errorf("%w: %w", ErrCA, err)
		}
		return nil
	}
}

func (a Access) options() (all []nats.Option) {
	if a.CA != "" {
		all = append(all, authorities(a.CA))
	}
	if a.Cert != "" {
		all = append(all, nats.ClientCert(a.Cert, a.CertKey))
	}
	if a.Credentials != "" {
		all = append(all, nats.UserCredentials(a.Credentials))
	}
	if a.NKey != "" {
		seed, err := nats.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			seed = func(*nats.Options) error { return fmt.Errorf("nkey %s: %w", a.NKey, err) }
		}
		all = append(all, seed)
	}
	return all
}

// FDPath is the Path of a unix socket that is open as descriptor fd, O_PATH
// included. It works without access to the socket's directory.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (o Options) withDefaults() (Options, error) {
	given := 0
	for _, is := range []bool{o.Path != "", o.URL != "", o.Server != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return o, errors.New("broker: one of Path, URL and Server is needed")
	}
	if o.URL != "" {
		if _, err := hosts(o.URL); err != nil {
			return o, err
		}
	}
	if o.Prefix == "" {
		o.Prefix = "pushd"
	}
	if strings.ContainsAny(o.Prefix, "*> \t\r\n") {
		return o, fmt.Errorf("broker: prefix %q is no subject", o.Prefix)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, d := range []struct {
		n *int
		d int
	}{
		{&o.QueueItems, 64 << 10}, {&o.QueueBytes, 64 << 20},
		{&o.InboxItems, 64 << 10}, {&o.InboxBytes, 64 << 20},
	} {
		if *d.n <= 0 {
			*d.n = d.d
		}
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 6 * time.Second
	}
	return o, nil
}

// where names the broker for logs and errors, without passwords.
func (o *Options) where() string {
	switch {
	case o.Server != nil:
		return "in this process"
	case o.Path != "":
		return "unix:" + o.Path
	}
	list, _ := hosts(o.URL)
	return strings.Join(list, ",")
}

// hosts returns the servers of a cluster's URL without users and passwords,
// which errors must not quote either.
func hosts(list string) ([]string, error) {
	var hosts []string
	for s := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" || (u.Scheme != "nats" && u.Scheme != "tls") {
			return nil, errors.New(`broker url: write "nats://host:4222" or "tls://host:4222", several with commas`)
		}
		hosts = append(hosts, u.Scheme+"://"+u.Host)
	}
	return hosts, nil
}

// subjects of the bus. Shards and queries are few and fixed: a channel never
// gets a subject of its own.
//
// With a node, what a process publishes stands under its node, "prefix.NODE.s.…",
// and so do the words to the node's own services. All read what all nodes
// publish, through one subscription, so that each publisher's order stays; what
// is local to another node is numbered with the rest and thrown away.
type subjects struct {
	shard   [worker.Shards]string
	local   [worker.Shards]string // for this node only
	own     string                // first tokens of what this node publishes; "" = there are no others
	stream  string                // all shards of all nodes
	query   string                // questions to all workers
	service string                // first tokens of the words to services of this node
	all     string                // first tokens of the words to services of all nodes
	replies string                // first tokens of the answers to this client
	nodes   string                // signs of life
	prefix  string
}

func newSubjects(prefix, node string, publisher uint64) *subjects {
	s := &subjects{
		stream:  prefix + ".s.*",
		query:   prefix + ".q",
		service: prefix + ".v.",
		all:     prefix + ".v.",
		replies: fmt.Sprintf("%s.r.%016x", prefix, publisher),
		nodes:   prefix + ".n",
		prefix:  prefix,
	}
	own, local := prefix, ""
	if node != "" {
		own, local = prefix+"."+token(node), "l"
		s.own, s.stream, s.service = own+".", prefix+".*.s.*", own+".v."
	}
	for i := range s.shard {
		s.shard[i] = own + ".s." + strconv.Itoa(i)
		s.local[i] = own + ".s." + local + strconv.Itoa(i)
	}
	return s
}

// token makes a name one token of a subject.
func token(name string) string { return hex.EncodeToString([]byte(name)) }

// foreign reports whether what came on the subject of a shard is local to
// another node.
func (s *subjects) foreign(subject string) bool {
	return s.isLocal(subject) && !strings.HasPrefix(subject, s.own)
}

// isLocal reports whether it came on a subject that is for one node only.
func (s *subjects) isLocal(subject string) bool {
	return s.own != "" && subject[strings.LastIndexByte(subject, '.')+1] == 'l'
}

// serviceOf is the subject of words to the service of that name.
func (s *subjects) serviceOf(name string) string { return s.service + token(name) }

// allOf is serviceOf for the services of all nodes.
func (s *subjects) allOf(name string) string { return s.all + token(name) }

// peersOf is the subject of words between services of that name on all nodes.
func (s *subjects) peersOf(name string) string { return s.prefix + ".k." + token(name) }

// peerOf is peersOf for the one on a node.
func (s *subjects) peerOf(node, name string) string {
	return s.prefix + "." + token(node) + ".k." + token(name)
}
