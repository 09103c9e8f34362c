package hook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// refuse lets events wait.
func refuse(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

func TestRestart(t *testing.T) {
	r := newReceiver(t)
	r.behave(refuse)
	dir := t.TempDir()
	events, want := numbered(50)
	q, _ := mustOpen(t, dir, appOf(r.url), timing{hold: time.Hour, first: time.Millisecond, longest: time.Millisecond, giveUp: time.Hour, answer: patience, maxBytes: 1 << 20})
	q.Add("1", events[:25]...)
	at := time.Now()
	q.Add("1", vacated("gone"), vacated("back"))
	waits(t, q, 27)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	r.behave(nil)
	again := quick
	again.hold = time.Since(at) + 3*time.Second
	q, _ = mustOpen(t, dir, appOf(r.url), again)
	q.Add("1", events[25:]...)
	q.Add("1", occupied("back"))
	r.want(append(want, "channel_vacated gone")...)
}

// child is another process with a queue; it ends by SIGKILL. Standing output
// says when all that it was told to add is in the journal.
func child(dir, url string) {
	tm := quick
	tm.hold = time.Hour
	l := new(testkit.Log)
	q, err := open(dir, appOf(url), l.Logger(), &tm, newClient(), nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	events, _ := numbered(1000)
	q.Add("1", events...)
	q.Add("1", removed("7"), removed("8"), added("8"))
	for q.Stats()[0].Waiting != 1001 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("ready")
	select {} // until it is killed
}

func TestKilled(t *testing.T) {
	r := newReceiver(t)
	r.behave(refuse)
	dir := t.TempDir()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "HOOK_TEST_CHILD="+dir, "HOOK_TEST_URL="+r.url)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 100)
	n, _ := out.Read(line)
	if err := c.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.Wait() // killed
	if string(line[:n]) != "ready\n" {
		t.Fatalf("the child says %q", line[:n])
	}
	r.alone()
	r.behave(nil)
	mustOpen(t, dir, appOf(r.url), quick)
	_, want := numbered(1000)
	r.want(append(want, "member_removed room 7")...)
}

// One process takes over from another that is still alive: nothing is sent
// twice or lost, and the older events come first.
func TestTakeOver(t *testing.T) {
	r := newReceiver(t)
	r.behave(refuse)
	dir := t.TempDir()
	events, want := numbered(20)
	old, _ := mustOpen(t, dir, appOf(r.url), quick)
	old.Add("1", events[:10]...)
	waits(t, old, 10)
	next, _ := mustOpen(t, dir, appOf(r.url), quick)
	next.Add("1", events[10:]...)
	r.behave(nil)
	r.want(want[:10]...) // by the old one
	waits(t, old, 0)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	r.want(want...)
}

// A queue that never got the journals says what it could not keep.
func TestNeverTookOver(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir, appOf("http://127.0.0.1:1"), quick)
	next, log := mustOpen(t, dir, appOf("http://127.0.0.1:1"), quick)
	next.Add("1", occupied("a"))
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "events=1") {
		t.Errorf("log: %s", log)
	}
}

// Journals of endpoints that are not configured any more are removed, with a
// line; another app's are not.
func TestEndpointIsRemoved(t *testing.T) {
	dir := t.TempDir()
	q, _ := mustOpen(t, dir, appOf("http://127.0.0.1:1", "http://127.0.0.1:2"), quick)
	q.Add("1", occupied("a"))
	waits(t, q, 2)
	q.Close()
	q, log := mustOpen(t, dir, appOf("http://127.0.0.1:2"), quick)
	waits(t, q, 1)
	if files, _ := filepath.Glob(filepath.Join(dir, "webhooks", "*.journal")); len(files) != 1 || !strings.Contains(log.String(), "was removed") {
		t.Errorf("left: %q, log: %s", files, log)
	}
}

// A journal does not grow with what has long been delivered.
func TestJournalStaysSmall(t *testing.T) {
	r := newReceiver(t)
	dir := t.TempDir()
	q, _ := mustOpen(t, dir, appOf(r.url), quick)
	events, _ := numbered(1000)
	most := int64(0)
	for n := range uint64(30) { // 2 MB of lines
		q.Add("1", events...)
		testkit.Eventually(t, "all are delivered", func() bool { return q.Stats()[0].Delivered == 1000*(n+1) })
		most = max(most, fileSize(t, dir))
	}
	if most > compactAt+256<<10 {
		t.Errorf("the journal grew to %d bytes", most)
	}
	if most < compactAt/2 {
		t.Errorf("the journal had %d bytes at most: this test has become too easy", most)
	}
}

// What waits for long is not written again and again, whatever its bytes become
// in JSON.
func TestJournalIsSeldomRewritten(t *testing.T) {
	r := newReceiver(t)
	r.behave(refuse)
	dir := t.TempDir()
	q, _ := mustOpen(t, dir, appOf(r.url), quick)
	path := q.endpoints[0].journal.path
	last, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrites := 0
	for i := range 150 { // 3.6 MB
		q.Add("1", Event{Name: "client_event", Channel: "a", Data: strings.Repeat("\x01", 4000)})
		waits(t, q, i+1)
		now, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(last, now) {
			rewrites++
		}
		last = now
	}
	if rewrites < 1 || rewrites > 2 || last.Size() < 3<<20 {
		t.Errorf("%d bytes were rewritten %d times, want once or twice", last.Size(), rewrites)
	}
}

func fileSize(t *testing.T, dir string) int64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "webhooks", "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatalf("journals: %q, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("journal has mode %v", info.Mode())
	}
	return info.Size()
}

// A full disk: events go out all the same, the log says what that means, and
// when there is room again the journal is whole again.
func TestDiskIsFull(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, log := &wire{began: time.Now()}, new(testkit.Log)
		w.fails.Store(true)
		q, err := open(dir, appOf("http://x"), log.Logger(), &defaults, &http.Client{Transport: w}, nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		e := q.endpoints[0]
		e.journal.f.Close()
		if e.journal.f, err = os.OpenFile("/dev/full", os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
		q.Add("1", occupied("a"))
		q.Add("1", vacated("b"))
		synctest.Wait()
		if !strings.Contains(log.String(), "no space left") {
			t.Errorf("log: %s", log)
		}
		time.Sleep(mendEvery + time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "written again") {
			t.Errorf("log: %s", log)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if got := kept(t, e.journal.path); !slices.Equal(got, []string{"channel_occupied a", "channel_vacated b"}) {
			t.Errorf("the journal holds %q", got)
		}
	})
}

// kept replays a journal file and returns what waits in it.
func kept(t testing.TB, path string) (list []string) {
	t.Helper()
	e := newEndpoint(filepath.Dir(path), &appOf("http://x")[0], &appOf("http://x")[0].Webhooks[0], &defaults, new(testkit.Log).Logger())
	j, _, err := openJournal(path, e.replay)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for _, l := range e.entries() {
		switch {
		case l.Event != nil:
			list = append(list, short(*l.Event))
		case l.Hold != nil:
			list = append(list, short(*l.Hold))
		}
	}
	return list
}

// lines of a journal, and what waits after each.
var lines = []struct {
	entry entry
	want  []string
}{
	{entry{Event: new(occupied("a")), At: 1}, []string{"channel_occupied a"}},
	{entry{Hold: new(removed("7")), At: 1}, []string{"channel_occupied a", "member_removed room 7"}},
	{entry{Hold: new(vacated("a")), At: 2}, []string{"channel_occupied a", "member_removed room 7", "channel_vacated a"}},
	{entry{Back: new(removed("7"))}, []string{"channel_occupied a", "channel_vacated a"}},
	{entry{Event: new(occupied("b")), At: 3}, []string{"channel_occupied a", "channel_occupied b", "channel_vacated a"}},
	{entry{Ready: new(vacated("a")), At: 4}, []string{"channel_occupied a", "channel_occupied b", "channel_vacated a"}},
	{entry{Done: 1}, []string{"channel_occupied b", "channel_vacated a"}},
	{entry{Done: 2}, nil},
}

// A process can be killed in the middle of any write.
func TestCutAnywhere(t *testing.T) {
	var whole []byte
	ends := []int{0}
	for _, l := range lines {
		raw, err := json.Marshal(l.entry)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(append(whole, raw...), '\n')
		ends = append(ends, len(whole))
	}
	path := filepath.Join(t.TempDir(), "x.journal")
	done := 0
	for cut := range len(whole) + 1 {
		if done+1 < len(ends) && cut == ends[done+1] {
			done++
		}
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		var want []string
		if done > 0 {
			want = lines[done-1].want
		}
		for range 2 { // the second time from what the first has left
			if got := kept(t, path); !slices.Equal(got, want) {
				t.Fatalf("cut after %d bytes: %q, want %q", cut, got, want)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Size() != int64(ends[done]) {
			t.Fatalf("cut after %d bytes: %v, %v; want %d bytes left", cut, info, err, ends[done])
		}
	}
}

// A damaged line costs that line.
func TestDamagedLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.journal")
	const text = `{"event":{"name":"channel_occupied","channel":"a"},"at":1}
{"event":{"name":"chan` + "\x00\x00" + `
{"event":{"name":"channel_occupied","channel":"b"},"at":1}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, path); !slices.Equal(got, []string{"channel_occupied a", "channel_occupied b"}) {
		t.Errorf("got %q", got)
	}
}

// FuzzJournal: any file can be opened, and a rewrite holds the same.
func FuzzJournal(f *testing.F) {
	for i := range lines {
		var b strings.Builder
		for _, l := range lines[:i+1] {
			raw, _ := json.Marshal(l.entry)
			b.Write(append(raw, '\n'))
		}
		f.Add([]byte(b.String()))
	}
	f.Add([]byte(`{"hold":{"name":"channel_vacated","channel":"a"},"at":1}
{"back":{"name":"channel_vacated","channel":"a"}}
{"hold":{"name":"channel_vacated","channel":"b"},"at":2}
{"hold":{"name":"channel_vacated","channel":"a"},"at":3}
`))
	f.Add([]byte("{\"done\":-1}\n{\"done\":9999}\nnull\n[]\n{\"ready\":{}}\n{\"hold\":{\"name\":\"x\"}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.journal")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		read := func() (*journal, *endpoint) {
			e := newEndpoint(dir, &appOf("http://x")[0], &appOf("http://x")[0].Webhooks[0], &defaults, new(testkit.Log).Logger())
			j, _, err := openJournal(path, e.replay)
			if err != nil {
				t.Fatal(err)
			}
			return j, e
		}
		j, before := read()
		if err := j.rewrite(before.entries()); err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		j, after := read()
		defer j.close()
		if a, b := before.entries(), after.entries(); !reflect.DeepEqual(a, b) {
			t.Errorf("before the rewrite %+v\nafter it %+v", a, b)
		}
	})
}
