package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// asPushbench makes the test binary pushbench.
const asPushbench = "PUSHBENCH_TEST_AS_PUSHBENCH=1"

// TestMain makes the test binary pushbench and its agent, and fails if one is left.
func TestMain(m *testing.M) {
	if slices.Contains(os.Environ(), asPushbench) || len(os.Args) == 2 && os.Args[1] == fleet.AgentCommand {
		main()
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "6") // they wait more than they work
	code := m.Run()
	if left := children(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "processes are left:", left)
		code = 1
	}
	os.Exit(code)
}

// children are the processes whose parent is this one.
func children() (left []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, _ := os.ReadFile(file)
		if fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			left = append(left, string(text))
		}
	}
	return left
}

// pushbench runs a command as a process: urfave/cli has one flag of help for all that
// a process parses.
func pushbench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := exec.Command(self, args...)
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), asPushbench), &out, &errs
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// benchmark runs a command and returns its exit code and report.
func benchmark(t *testing.T, args ...string) (int, Report) {
	t.Helper()
	code, out, errs := pushbench(t, append(args, "--json")...)
	if errs != "" {
		t.Logf("stderr: %s", errs)
	}
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil && code == 0 {
		t.Fatalf("report %q: %v", out, err)
	}
	return code, r
}

func number(t *testing.T, r Report, name string) float64 {
	t.Helper()
	v, ok := r.Numbers.Get(name)
	if !ok {
		t.Fatalf("no number %q in %+v", name, r.Numbers)
	}
	return v
}

func healthy(t *testing.T, code int, r Report) {
	t.Helper()
	if code != 0 || !r.OK {
		t.Fatalf("exit %d, problems %v, violations %v", code, r.Problems, r.Violations)
	}
}

func TestIdleCountsAndMeasures(t *testing.T) {
	ws, _ := startPeer(t, &peer{})
	code, r := benchmark(t, "idle", "--url", ws+"/echo", "-n", "300", "--procs", "2", "--settle", "1s", "--hold", "200ms", "--pid", strconv.Itoa(os.Getpid()))
	healthy(t, code, r)
	if n := number(t, r, "connections"); n != 300 {
		t.Errorf("%v connections", n)
	}
	if n := number(t, r, "server_bytes_per_connection"); n < 20 {
		t.Errorf("%v bytes per connection of a goroutine server", n)
	}
	if n := number(t, r, "client_processes"); n != 2 {
		t.Errorf("%v processes", n)
	}
}

// TestIdleTellsGrowthFromConnections: what a server that has just begun still grows by
// is not what connections cost.
func TestIdleTellsGrowthFromConnections(t *testing.T) {
	ws, _ := startPeer(t, &peer{})
	const step, steps = 8 << 20, 12
	grown := make(chan [][]byte)
	go func() {
		var list [][]byte
		for range steps {
			b := make([]byte, step)
			for i := 0; i < len(b); i += 1 << 10 {
				b[i] = 1
			}
			list = append(list, b)
			time.Sleep(100 * time.Millisecond)
		}
		grown <- list
	}()
	code, r := benchmark(t, "idle", "--url", ws+"/echo", "-n", "10", "--procs", "1", "--settle", "30s", "--hold", "0s", "--pid", strconv.Itoa(os.Getpid()))
	healthy(t, code, r)
	if base := number(t, r, "server_base_bytes"); base < step*steps {
		t.Errorf("the server had %v bytes before the first connection, of %d that were its own", base, step*steps)
	}
	runtime.KeepAlive(<-grown)
}

func TestIdleBroadcastsAndExecutes(t *testing.T) {
	t.Parallel()
	ws, api := startPeer(t, &peer{key: "k"})
	ran := filepath.Join(t.TempDir(), "ran")
	args := []string{"idle", "--url", ws + "/chat?room=a", "-n", "60", "--procs", "2", "--hold", "10ms", "--api", api, "--key", "k", "--channel", "chat:a", "-m", "3", "--stall", "2s"}
	code, r := benchmark(t, append(args, "--exec", "touch "+ran)...)
	healthy(t, code, r)
	if n := number(t, r, "deliveries"); n != 2*3*60 {
		t.Errorf("%v deliveries", n)
	}
	if _, err := os.Stat(ran); err != nil {
		t.Error(err)
	}
	for _, fault := range []string{"drop", "duplicate", "corrupt", "close"} {
		ws, api := startPeer(t, &peer{key: "k", fault: fault, every: 100})
		args[2], args[10] = ws+"/chat?room=a", api
		if code, r := benchmark(t, args...); code != 1 {
			t.Errorf("%s: exit %d, %v", fault, code, r.Problems)
		}
	}
	if code, _ := benchmark(t, "idle", "--url", ws, "-m", "1"); code != 2 {
		t.Errorf("messages without an api: exit %d", code)
	}
}

func TestIdleNoticesWhatArrivesUnasked(t *testing.T) {
	ws, _ := startPeer(t, &peer{greet: "hello"})
	if code, r := benchmark(t, "idle", "--url", ws+"/echo", "-n", "5", "--hold", "10ms"); code != 1 || number(t, r, "faults_corrupt") != 5 {
		t.Errorf("exit %d, %v", code, r.Violations)
	}
	code, r := benchmark(t, "idle", "--url", ws+"/echo", "-n", "5", "--hold", "10ms", "--foreign-ok")
	healthy(t, code, r)
}

func TestConnect(t *testing.T) {
	t.Parallel()
	ws, _ := startPeer(t, &peer{})
	// With a rate, dials beyond -c are skipped: there are never more than a hundred.
	for _, more := range [][]string{{"-c", "20"}, {"-c", "20", "--echo"}, {"-c", "200", "--rate", "200"}} {
		code, r := benchmark(t, append([]string{"connect", "--url", ws + "/echo", "-d", "500ms"}, more...)...)
		healthy(t, code, r)
		if n := number(t, r, "connections"); n < 20 {
			t.Errorf("%v: %v connections", more, n)
		}
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	ws, _ := startPeer(t, &peer{})
	for _, more := range [][]string{{}, {"--size", "100000"}, {"--rate", "500"}} {
		code, r := benchmark(t, append([]string{"echo", "--url", ws + "/echo", "-c", "20", "-d", "500ms"}, more...)...)
		healthy(t, code, r)
		if n := number(t, r, "messages"); n < 20 {
			t.Errorf("%v: %v messages", more, n)
		}
		if number(t, r, "echo_p99_us") <= 0 {
			t.Errorf("%v: no latency", more)
		}
	}
}

// A timetable does not wait for a slow server: what was due meanwhile counts
// from when it was due.
func TestOpenLoopDoesNotOmit(t *testing.T) {
	ws, _ := startPeer(t, &peer{fault: "stall", every: 100})
	code, r := benchmark(t, "echo", "--url", ws+"/echo", "-c", "1", "--rate", "200", "-d", "1s")
	healthy(t, code, r)
	if n := number(t, r, "messages"); n < 190 || n > 300 { // more when the machine lets it end late
		t.Errorf("%v messages at 200 a second", n)
	}
	// The first stall of 300 ms holds back about 60 of the 200 messages; to a
	// client that waits for answers it would be one message in a hundred.
	if p90 := number(t, r, "echo_p90_us"); p90 < 100_000 {
		t.Errorf("p90 %v µs: what waited behind a stall was not counted", p90)
	}
}

func TestFanout(t *testing.T) {
	t.Parallel()
	ws, api := startPeer(t, &peer{key: "k"})
	for name, more := range map[string][]string{
		"client": {},
		"api":    {"--api", api, "--key", "k", "--rate", "100"},
		"procs":  {"--procs", "3", "--ahead", "4"},
	} {
		t.Run(name, func(t *testing.T) {
			code, r := benchmark(t, append([]string{"fanout", "--url", ws + "/chat?room={room}", "--channel", "chat:" + name, "-n", "50", "-m", "40"}, more...)...)
			healthy(t, code, r)
			if n := number(t, r, "deliveries"); n != 50*40 {
				t.Errorf("%v deliveries", n)
			}
			if n := number(t, r, "last_receiver_count"); n != 40 {
				t.Errorf("%v messages reached their last receiver", n)
			}
		})
	}
}

// TestCentrifugo: members of a channel of Centrifugo's protocol, idle or not, who are
// asked whether they are there; and one who is refused.
func TestCentrifugo(t *testing.T) {
	t.Parallel()
	p := &peer{key: "k"}
	ws, api := startPeer(t, p)
	reach := []string{"--url", ws + "/connection/websocket", "--protocol", "centrifugo", "--api", api, "--key", "k", "-n", "20", "--channel"}
	code, r := benchmark(t, append([]string{"fanout", "-m", "30"}, append(reach, "bench")...)...)
	healthy(t, code, r)
	if n := number(t, r, "deliveries"); n != 20*30 {
		t.Errorf("%v deliveries", n)
	}
	code, r = benchmark(t, append([]string{"idle", "-m", "2", "--hold", "10ms"}, append(reach, "bench")...)...)
	healthy(t, code, r)
	for end := time.Now().Add(time.Minute); p.pongs.Load() != 40; time.Sleep(10 * time.Millisecond) { // it may read them late
		if time.Now().After(end) {
			t.Fatalf("%d of 40 connections said that they are there", p.pongs.Load())
		}
	}
	if code, _, errs := pushbench(t, append([]string{"idle", "--hold", "10ms"}, append(reach, "secret")...)...); code != 1 || !strings.Contains(errs, "unknown channel") {
		t.Errorf("a channel that is refused: exit %d, %s", code, errs)
	}
	if code, _ := benchmark(t, "fanout", "--url", ws, "--protocol", "centrifugo"); code != 2 {
		t.Errorf("nobody to publish: exit %d", code)
	}
	if code, _ := benchmark(t, "idle", "--url", ws, "--protocol", "centrefugo"); code != 2 {
		t.Errorf("an unknown protocol: exit %d", code)
	}
}

// A message that could not be published on time because the server was busy with
// the one before is as late as it is.
func TestFanoutCountsFromWhenAMessageWasDue(t *testing.T) {
	t.Parallel()
	p := &peer{key: "k"}
	p.late.Store(int64(300 * time.Millisecond))
	ws, api := startPeer(t, p)
	code, r := benchmark(t, "fanout", "--url", ws+"/chat?room=due", "--channel", "chat:due", "-n", "5", "-m", "4", "--api", api, "--key", "k", "--rate", "20")
	healthy(t, code, r)
	if took := number(t, r, "last_receiver_max_us"); took < 200_000 {
		t.Errorf("the message due at 50 ms, published after 300 ms, took %v µs", took)
	}
}

// Each fault of a server is found and named, whoever makes the load.
func TestPlantedFaults(t *testing.T) {
	faults := map[string]string{
		"drop": "faults_loss", "duplicate": "faults_duplicate", "swap": "faults_reorder",
		"corrupt": "faults_corrupt", "close": "faults_closed", "bounce": "faults_corrupt",
	}
	for fault, want := range faults {
		commands := map[string][]string{
			"echo":   {"echo", "--rate", "400", "-c", "4", "-d", "500ms", "--drain", "300ms"},
			"fanout": {"fanout", "-n", "4", "-m", "100", "--rate", "400", "--stall", "300ms", "--drain", "300ms"},
			"verify": {"verify", "--echoes", "4", "--echo-rate", "400", "--channels", "1", "--members", "4", "--talk-rate", "100", "--slow", "0", "--connect-rate", "0", "--settle", "0s", "--churn", "0", "-d", "500ms", "--drain", "300ms"},
		}
		if fault == "bounce" {
			delete(commands, "echo")
		}
		for name, args := range commands {
			t.Run(fault+"/"+name, func(t *testing.T) {
				t.Parallel()
				ws, _ := startPeer(t, &peer{fault: fault, every: 37})
				path := map[string]string{"echo": "/echo", "fanout": "/chat?room={room}"}[name]
				code, r := benchmark(t, append(args, "--url", ws+path)...)
				if code != 1 {
					t.Fatalf("exit %d", code)
				}
				if number(t, r, want) == 0 {
					t.Fatalf("%s is not among %v", want, r.Numbers)
				}
			})
		}
	}
}

// standingArgs is a small load of every sort.
func standingArgs(ws, api string) []string {
	return []string{
		"--url", ws, "--api", api, "--key", "k", "--echoes", "50", "--echo-rate", "300", "--channels", "2", "--members", "20",
		"--talk-rate", "50", "--publish-rate", "50", "--churn", "20", "--connect-rate", "40", "--slow", "4", "--settle", "300ms", "-d", "1500ms",
	}
}

func TestStandingLoads(t *testing.T) {
	t.Parallel()
	ws, api := startPeer(t, &peer{key: "k"})
	saved := filepath.Join(t.TempDir(), "history.json")
	code, r := benchmark(t, append([]string{"verify", "--procs", "2", "--history", saved}, standingArgs(ws, api)...)...)
	healthy(t, code, r)
	for _, name := range []string{"publishes", "messages_received", "connections_left", "echo_count", "delivery_count", "connect_count"} {
		if number(t, r, name) == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	if n := number(t, r, "connections_lost"); n != 0 {
		t.Errorf("%v connections that left count as lost", n)
	}
	settled := number(t, r, "settle_s")
	code, r = benchmark(t, "verify", "--check", saved)
	healthy(t, code, r)
	if number(t, r, "sessions") < 94 {
		t.Errorf("the saved history has %v sessions", number(t, r, "sessions"))
	}
	if was := settled; was < 0.3 || number(t, r, "settle_s") != was {
		t.Errorf("judged with a settle of %v s, and again with %v s", was, number(t, r, "settle_s"))
	}
	code, r = benchmark(t, append([]string{"mix", "--idle", "30"}, standingArgs(ws, api)...)...)
	healthy(t, code, r)
}

// TestSettleIsWidened: what a starved server holds for 300 ms is under way for as long,
// and the report says how long members were allowed to miss messages.
func TestSettleIsWidened(t *testing.T) {
	t.Parallel()
	ws, _ := startPeer(t, &peer{fault: "stall", every: 20})
	for _, asked := range []string{"0s", "1h"} {
		code, r := benchmark(t, "verify", "--url", ws, "--echoes", "2", "--echo-rate", "100", "--channels", "0", "--connect-rate", "0", "--slow", "0", "--settle", asked, "-d", "500ms")
		healthy(t, code, r)
		longest := max(number(t, r, "echo_max_us"), number(t, r, "connect_max_us")) / 1e6
		want := map[string]float64{"0s": 2 * longest, "1h": 3600}[asked]
		if got := number(t, r, "settle_s"); longest < 0.3 || math.Abs(got-want) > 0.001 {
			t.Errorf("--settle %s: settle_s %v, want %v; the slowest took %v s", asked, got, want, longest)
		}
	}
}

// 1013 is what slow members may get, and nobody else.
func TestSlowMembersMayBeCut(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]int{"0": 0, "2": 1} {
		ws, api := startPeer(t, &peer{key: "k", fault: "cut", every: 5})
		code, r := benchmark(t, "verify", "--url", ws, "--api", api, "--key", "k", "--echo-rate", "0", "--connect-rate", "0", "--talk-rate", "0", "--churn", "0",
			"--channels", "1", "--members", members, "--slow", "4", "--slow-bytes", "5000", "--publish-rate", "100", "--settle", "100ms", "-d", "1s")
		if code != want {
			t.Errorf("%s members: exit %d, %v", members, code, r.Violations)
		}
		if members == "0" && number(t, r, "slow_members_cut") == 0 {
			t.Error("no slow member was cut")
		}
	}
}

func TestRefusedPublishIsAFault(t *testing.T) {
	t.Parallel()
	ws, api := startPeer(t, &peer{key: "other"})
	code, r := benchmark(t, append([]string{"verify"}, standingArgs(ws, api)...)...)
	if code != 1 || number(t, r, "faults_refused") == 0 || number(t, r, "faults_loss") != 0 {
		t.Fatalf("exit %d, %v", code, r.Violations)
	}
}

func TestReloadRunsTheCommand(t *testing.T) {
	t.Parallel()
	ws, api := startPeer(t, &peer{key: "k"})
	log := filepath.Join(t.TempDir(), "log")
	args := append([]string{"reload", "--times", "3", "--every", "100ms"}, standingArgs(ws, api)...)
	code, r := benchmark(t, append(args, "--exec", "sleep 0.2; echo x >> "+log)...)
	healthy(t, code, r)
	if text, _ := os.ReadFile(log); string(text) != "x\nx\nx\n" {
		t.Errorf("the command left %q", text)
	}
	if number(t, r, "execution_count") != 3 || number(t, r, "control_count") == 0 || number(t, r, "control_p99_us") <= 0 || number(t, r, "echo_marked_count") == 0 {
		t.Errorf("%v", r.Numbers)
	}
	code, r = benchmark(t, append(args, "--exec", "echo broken config >&2; exit 3")...)
	if code != 1 || len(r.Problems) != 3 || !strings.Contains(r.Problems[0], "broken config") {
		t.Errorf("failing command: exit %d, %v", code, r.Problems)
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	ws, _ := startPeer(t, &peer{})
	for name, test := range map[string]struct {
		args []string
		code int
	}{
		"size":        {[]string{"echo", "--url", ws, "--size", "5"}, 2},
		"no url":      {[]string{"echo"}, 2},
		"no flag":     {[]string{"echo", "--nonsense"}, 2},
		"wss":         {[]string{"idle", "--url", "wss://127.0.0.1/"}, 1},
		"tokens":      {[]string{"tokens", "--url", "ws://127.0.0.1:1/", "--secret", "x"}, 2},
		"nobody":      {[]string{"idle", "--url", "ws://127.0.0.1:1/", "-n", "3"}, 1},
		"wrong path":  {[]string{"idle", "--url", ws + "/nothing", "-n", "3"}, 1},
		"no process":  {[]string{"idle", "--url", ws + "/echo", "--pid", "99999999"}, 1},
		"plot of air": {[]string{"plot"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := pushbench(t, test.args...)
			if code != test.code {
				t.Errorf("exit %d, want %d; %s", code, test.code, errs)
			}
			if !strings.HasPrefix(errs, "pushbench: ") {
				t.Errorf("says %q", errs)
			}
		})
	}
}

func TestPlot(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i, r := range []Report{
		{Label: "pushd", Numbers: Numbers{{"server_bytes_per_connection", 600}}},
		{Label: "pushd", Numbers: Numbers{{"server_bytes_per_connection", 500}}},
		{Label: "Ratchet <&>", Numbers: Numbers{{"server_bytes_per_connection", 22000}}},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, strconv.Itoa(i)))
		if err := os.WriteFile(files[i], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := pushbench(t, append([]string{"plot", "--log"}, files...)...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"550 B", "22,000 B", "Ratchet &lt;&amp;&gt;"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the drawing", want)
		}
	}
}

// TestVerdict: a client that was too slow for its load has found no fault.
func TestVerdict(t *testing.T) {
	slow := func() *Report { r := &Report{}; r.late(672, 3); return r }
	worse, lossy := slow(), slow()
	worse.problem("no message went through")
	lossy.Violations = []history.Violation{{Kind: history.Loss}}
	for begins, r := range map[string]*Report{"ok:": {OK: true}, "NOT MEASURED: nothing was lost": slow(), "FAILED: something was lost": worse} {
		if v := r.verdict(); !strings.HasPrefix(v, begins) {
			t.Errorf("%q, want %s", v, begins)
		}
	}
	if v := lossy.verdict(); !strings.HasPrefix(v, "FAILED") {
		t.Errorf("%q", v)
	}
}
