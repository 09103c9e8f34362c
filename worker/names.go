package worker

import (
	"net/url"

	"github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/worker/bus"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/connid"
	"github.com/pushd/pushd/worker/service"
	"github.com/pushd/pushd/worker/settings"
	"github.com/pushd/pushd/worker/survey"
)

// What follows has its place in a package below, where it is described, and is named
// here for programs, which need this package alone.

// What a config says of a group, and a program may set before cmd.Run: a Worker has the
// fields of Settings. For them, with their defaults: go doc -all
// github.com/pushd/pushd/worker/settings
type (
	Settings     = settings.Settings
	SettingError = settings.Error
	Limits       = settings.Limits
	Slow         = channel.Slow
	ChannelSlow  = settings.ChannelSlow
)

// What happens to a connection whose queue is over MaxQueue, and where requests go.
const (
	SlowClose      = channel.SlowClose      // close it with 1013
	SlowDropOldest = channel.SlowDropOldest // forget the messages that have waited longest
	SlowLatest     = channel.SlowLatest     // keep only the newest message
	RedirectHTTPS  = settings.RedirectHTTPS // to TLS
)

// DefaultSettings returns the documented defaults.
func DefaultSettings() Settings { return settings.Default() }

// ID names a connection, see Conn.ID.
type ID = connid.ID

// ParseID reads the text form of an ID: only that which String writes.
func ParseID(s string) (id ID, ok bool) { return connid.Parse(s) }

// NumberOf returns the number in the ID of a connection, 0 for what is no ID.
func NumberOf(id string) uint64 { return connid.NumberOf(id) }

// ParseQuery takes a query apart as browsers write it: only "&" separates, "+" is a
// space, and a "%" that no two hex digits follow stands for itself. Unlike
// url.ParseQuery it drops nothing.
func ParseQuery(raw string) url.Values { return http.ParseQuery(raw) }

// What goes over the bus.
type (
	Publication = bus.Publication
	Kind        = bus.Kind
	Scope       = bus.Scope
	Stamp       = bus.Stamp
	Order       = bus.Order
	Numbered    = bus.Numbered
	Answer      = bus.Answer
	BusQuery    = bus.Query
)

// What carries it.
type (
	Broker           = bus.Broker
	ServiceBus       = bus.Services
	Pauser           = bus.Pauser
	Numberer         = bus.Numberer
	Assurer          = bus.Assurer
	Stander          = bus.Stander
	Inbox            = bus.Inbox
	BrokerStats      = bus.Stats
	SharedLog        = bus.Log
	SharedLogOptions = bus.LogOptions
	LogStart         = bus.LogStart
	LogEntry         = bus.LogEntry
)

// What the history service is asked, and its answers.
type (
	HistoryQuery    = bus.HistoryQuery
	HistoryPage     = bus.HistoryPage
	HistoryMessage  = bus.HistoryMessage
	HistoryPurge    = bus.HistoryPurge
	HistoryPurged   = bus.HistoryPurged
	HistoryQuestion = bus.HistoryQuestion
)

// What worker processes tell of themselves.
type (
	Stats        = survey.Stats
	ProcessStats = survey.ProcessStats
	ScriptStats  = survey.ScriptStats
	ConnInfo     = survey.ConnInfo
	ConnQuery    = survey.ConnQuery
	ConnPage     = survey.ConnPage
	ChannelInfo  = survey.ChannelInfo
	ChannelQuery = survey.ChannelQuery
	ChannelPage  = survey.ChannelPage
	Member       = survey.Member
	OnlineQuery  = survey.OnlineQuery
)

// NewOnlineQuery asks for these.
func NewOnlineQuery(uids []string) OnlineQuery { return survey.NewOnlineQuery(uids) }

// Services, and options.
type (
	Options         = service.Options
	ServiceOptions  = service.All
	Service         = service.Service
	ServiceEnv      = service.Env
	Metric          = service.Metric
	PartingService  = service.Parting
	OrderingService = service.Ordering
	PeerService     = service.Peer
	RejoinedService = service.Rejoined
	MetricsService  = service.Measured
	AbsentService   = service.Absent
	StatefulService = service.Stateful
	CheckedService  = service.Checked
)

// Targets of publications, and what becomes of their connections.
const (
	ScopeChannel = bus.ScopeChannel
	ScopeUID     = bus.ScopeUID
	ScopeConn    = bus.ScopeConn
	ScopeAll     = bus.ScopeAll
	ScopeList    = bus.ScopeList

	KindMessage  = bus.KindMessage
	KindKick     = bus.KindKick
	KindBind     = bus.KindBind
	KindUnbind   = bus.KindUnbind
	KindJoin     = bus.KindJoin
	KindLeave    = bus.KindLeave
	KindMessages = bus.KindMessages
	KindService  = bus.KindService
	KindRecovery = bus.KindRecovery
	KindStand    = bus.KindStand

	CodeNumberOnly = bus.CodeNumberOnly
	CodeUnkept     = bus.CodeUnkept
	HistoryService = bus.HistoryService
	HistorySilent  = bus.HistorySilent
	Shards         = bus.Shards
	maxPublication = bus.MaxData

	EverywhereQuestion = bus.EverywhereQuestion

	GatherQuery = survey.HandlerQuestion // the BusQuery.What of Gather
	MaxSurvey   = survey.MaxMembers      // names that a question over all processes takes, and members that it lists
)

// Errors of publishing, telling and asking.
var (
	ErrBrokerBusy  = bus.ErrBusy
	ErrBrokerAway  = bus.ErrAway
	ErrUnsure      = bus.ErrUnsure
	ErrTooLarge    = bus.ErrTooLarge
	ErrNoServices  = bus.ErrNoServices
	ErrNoAnswer    = bus.ErrNoAnswer
	ErrUnavailable = bus.ErrUnavailable
	ErrOutdated    = bus.ErrOutdated
)

// Shard is bus.Shard.
func Shard(scope Scope, target string) uint8 { return bus.Shard(scope, target) }

// Unkept is bus.Unkept.
func Unkept(said []Numbered, all bool) string { return bus.Unkept(said, all) }

// AnswerOf is bus.AnswerOf.
func AnswerOf(data []byte, err error) Answer { return bus.AnswerOf(data, err) }

// AppendMessage is bus.AppendMessage.
func AppendMessage(dst, message []byte) []byte { return bus.AppendMessage(dst, message) }

// EachMessage is bus.EachMessage.
func EachMessage(data []byte, visit func(message []byte)) (n int, err error) {
	return bus.EachMessage(data, visit)
}

// RegisterService is service.Register.
func RegisterService(name string, fn func() Service) { service.Register(name, fn) }

// ServiceNames is service.Names.
func ServiceNames() []string { return service.Names() }

// NewService is service.New.
func NewService(name string) Service { return service.New(name) }
