package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestScriptQueue: while a program is busy its clients wait, not their messages
// in the worker; then all is answered in order. Datagrams are lost, and counted.
func TestScriptQueue(t *testing.T) {
	t.Parallel()
	const queue, messages, size = 16 << 10, 400, 1 << 10
	s := walk(t, "", `queue = "16KiB"
callback = "10m"`)
	b := s.Dial("/")
	says(t, b, "here", "here")
	pid := s.idle().PID
	pushdtest.Freeze(t, pid) // until all has been looked at, however long that takes
	sent := make(chan error, 1)
	pad := strings.Repeat("x", size)
	go func() {
		for i := range messages {
			if err := b.Try(pushdtest.OpText, []byte(fmt.Sprintf("echo %d%s", i, pad))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	pushdtest.Eventually(t, "clients wait", func() bool { return s.scripts()[0].Holds > 0 })
	udp, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_, _ = udp.Write([]byte("lost"))
	pushdtest.Eventually(t, "a datagram is lost", func() bool { return s.scripts()[0].Packets > 0 })
	if one := s.scripts()[0]; one.Waiting > queue+2*size || one.State != "ready" {
		t.Errorf("%d bytes wait: %+v", one.Waiting, one)
	}
	signal(t, pid, unix.SIGCONT)
	for i := range messages {
		b.WantText(strconv.Itoa(i) + pad)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestScriptDoesNotComeBack: while no process gets ready connections stay and
// their messages wait; mended code is taken at once by a reload.
func TestScriptDoesNotComeBack(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { BROKEN = "{{dir}}/broken" }`)
	a, b := s.Dial("/"), s.Dial("/")
	says(t, a, "set Ann", "set")
	says(t, b, "here", "here")
	broken := filepath.Join(s.Dir, "broken")
	if err := os.WriteFile(broken, []byte("half a deploy"), 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, s.idle().PID)
	pushdtest.Eventually(t, "it is known to fail", func() bool { return s.scripts()[0].State == "degraded" })
	a.SendText("get")
	if r := s.renew(); r.OK || !strings.Contains(r.Error, "half a deploy") {
		t.Errorf("%+v", r)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if r := s.renew(); !r.OK || r.Drained != 0 {
		t.Errorf("%+v", r)
	}
	a.WantText("Ann")
	says(t, b, "here", "here")
	if one := s.idle(); one.Doubts+one.Strands != 0 {
		t.Errorf("%+v", one)
	}
}

// TestScriptAged: a process that has had its messages, or has grown, is replaced
// and nobody notices.
func TestScriptAged(t *testing.T) {
	t.Parallel()
	s := walk(t, "", "max_messages = 20")
	a := s.Dial("/")
	for i := range 100 {
		says(t, a, strconv.Itoa(i), strconv.Itoa(i))
	}
	pushdtest.Eventually(t, "it is replaced", func() bool { return s.idle().Births > 1 })
	fat := walk(t, "", `memory = "40MiB"`)
	a = fat.Dial("/")
	says(t, a, "grow 36", "fat")
	pushdtest.Eventually(t, "it is replaced", func() bool {
		says(t, a, "here", "here")
		return fat.scripts()[0].Births > 1
	})
	pushdtest.Eventually(t, "the lean one is at work", func() bool { one := fat.idle(); return one.RSSBytes < 30<<20 && one.Doubts == 0 })
	says(t, a, "here", "here")
}

// TestScriptKilledOften: a program that keeps nothing loses nobody, however
// often it is killed; 100 times by PUSHD_TEST_FULL.
func TestScriptKilledOften(t *testing.T) {
	t.Parallel()
	times := 5
	if os.Getenv("PUSHD_TEST_FULL") != "" {
		times = 100
	}
	s := walk(t, "", `env = { WANTS = "open" }`)
	var list []*pushdtest.Client
	for i := range 20 {
		c := s.Dial("/")
		says(t, c, "set "+strconv.Itoa(i), "set")
		list = append(list, c)
	}
	for i := range times {
		one := s.idle()
		c := list[i%len(list)]
		pushdtest.Freeze(t, one.PID) // so that it will not have read this
		c.SendText("get")
		s.waits(0)
		kill(t, one.PID)
		c.WantText(strconv.Itoa(i % len(list)))
	}
	for i, c := range list {
		says(t, c, "get", strconv.Itoa(i))
	}
	if one := s.idle(); one.Doubts+one.Strands != 0 || one.Births != times+1 {
		t.Errorf("%+v", one)
	}
}

// waits waits until more than n bytes of events are not done, and returns how
// many.
func (s scripted) waits(n int) (now int) {
	s.t.Helper()
	pushdtest.Eventually(s.t, "something waits", func() bool { now = s.scripts()[0].Waiting; return now > n })
	return now
}

// TestScriptReadInPart: a process that is killed has had what it has read. What
// it has not, of the same batch, is for the next one, and its sender stays.
func TestScriptReadInPart(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `callback = "10m"
limits = { max_message = "256KiB" }`)
	first, told, slow, large := s.Dial("/"), s.Dial("/"), s.Dial("/"), s.Dial("/")
	says(t, large, "known", "known") // an OPEN that it had read would be in doubt
	pid := s.idle().PID
	pushdtest.Freeze(t, pid)
	first.SendText("here")
	n := s.waits(0)
	told.SendText("echo asleep") // these three are one batch, of which it reads 64 KiB at first
	n = s.waits(n)
	slow.SendText("sleep 600")
	n = s.waits(n)
	data := strings.Repeat("x", 200<<10)
	large.SendText(data)
	s.waits(n + len(data))
	signal(t, pid, unix.SIGCONT)
	first.WantText("here")
	told.WantText("asleep")
	kill(t, pid)
	for _, c := range []*pushdtest.Client{told, slow} {
		if code := closed(t, c); code != 1011 {
			t.Errorf("whose message was read was closed with %d", code)
		}
	}
	large.WantText(data)
	says(t, first, "here", "here")
	if one := s.idle(); one.Doubts != 2 || one.Births != 2 {
		t.Errorf("%+v", one)
	}
}

// TestScriptWatch: with watch a file that is saved is the code from then on, and
// clients stay. What is saved while the code before does not get ready does not wait for that.
func TestScriptWatch(t *testing.T) {
	t.Parallel()
	s, text, save := walkCopy(t, "watch = true")
	a := s.Dial("/")
	says(t, a, "word", "word")
	first := s.idle()
	save(newer(text))
	pushdtest.Eventually(t, "the new code runs", func() bool { return s.idle().PID != first.PID })
	says(t, a, "word", "new: word")
	began := filepath.Join(s.Dir, "began")
	save("import time\nopen(" + strconv.Quote(began) + ", 'w')\ntime.sleep(3600)\n")
	pushdtest.Eventually(t, "code that never gets ready has begun", func() bool { _, err := os.Stat(began); return err == nil })
	save(text)
	pushdtest.Eventually(t, "the code that is saved then runs", func() bool {
		a.SendText("word")
		_, got, err := a.Next(pushdtest.Timeout)
		return err == nil && string(got) == "word"
	})
}

// TestScriptAsks: a program that asks for it is replaced by its code as it is now, and
// serves on where that does not start.
func TestScriptAsks(t *testing.T) {
	t.Parallel()
	s, text, save := walkCopy(t, `env = { WANTS = "open" }`)
	a := s.Dial("/")
	const asks = `call {"what":"replace"}`
	first := s.idle()
	save("this is no Python\n" + text)
	says(t, a, asks, "answer 0 {}")
	says(t, a, asks, "answer 0 {}") // meanwhile
	pushdtest.Eventually(t, "the log says why not", func() bool {
		return strings.Contains(s.Log(), "script is not replaced: the process before serves on")
	})
	says(t, a, "word", "word")
	save(newer(text))
	says(t, a, asks, "answer 0 {}")
	pushdtest.Eventually(t, "the new code runs", func() bool { return s.idle().PID != first.PID })
	says(t, a, "word", "new: word")
	if one := s.idle(); one.Doubts+one.Strands != 0 {
		t.Errorf("%+v", one)
	}
}

// walkCopy is a server whose walker is a file of its own, the text of that, and what
// replaces it.
func walkCopy(t *testing.T, more string) (s scripted, text string, save func(string)) {
	t.Helper()
	walker := filepath.Join(pushdtest.Root(t), "cmd/pushd/testdata/script/walker.py")
	s = scripted{pushdtest.Start(t, pushdtest.Options{Manual: true, Config: strings.NewReplacer(`"1m"`, `"10m"`, walker, "mine.py").Replace(walkerText(t, "", more))}), t}
	raw, err := os.ReadFile(walker)
	if err != nil {
		t.Fatal(err)
	}
	save = func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.Dir, "mine.py"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save(string(raw))
	s.MustRun("start", "-d") // comes back when the worker is ready, which then knows the file as it is
	return s, string(raw), save
}

// newer is a walker whose answers tell it apart.
func newer(walker string) string {
	return strings.Replace(walker, "frame(33, c, text.encode())", "frame(33, c, b'new: ' + text.encode())", 1)
}

// TestScriptPausedIsTold: a process that follows a killed one hears of who was paused
// without a word of his, since what he has said before may be in his session.
func TestScriptPausedIsTold(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "hello" }`)
	paused, other, held := s.Dial("/"), s.Dial("/"), s.Dial("/")
	for _, c := range []*pushdtest.Client{paused, other, held} {
		says(t, c, "here", "hello") // of its OPEN
		c.WantText("here")
	}
	says(t, held, "hold", "held")
	says(t, held, "pause", "paused")
	says(t, paused, "pause", "paused")
	kill(t, s.idle().PID)
	paused.WantText("hello") // of its RESUME
	says(t, paused, "seen", "resume")
	held.WantClose(1012)
	says(t, other, "here", "hello")
}

// TestScriptStrandedIsNotTold: who is closed since only a dead process knew him is no client
// of the one that follows, which hears neither of his coming nor of his end.
func TestScriptStrandedIsNotTold(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "open close" }`)
	held, other := s.Dial("/"), s.Dial("/")
	says(t, held, "hold", "held")
	says(t, other, "seen", "open open")
	first := s.idle()
	kill(t, first.PID)
	pushdtest.Eventually(t, "the next one is there", func() bool { return s.idle().PID != first.PID })
	if err := held.Goodbye(1012); err != nil { // his answer is his end
		t.Error(err)
	}
	pushdtest.Eventually(t, "one connection is left", func() bool { return s.Status().Connections() == 1 })
	says(t, other, "seen", "resume")
}

// TestScriptPaused: a client that a program has paused is read again when the
// program is another one.
func TestScriptPaused(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s scripted){
		"killed":      func(s scripted) { kill(t, s.idle().PID) },
		"reload":      func(s scripted) { s.renew() },
		"full reload": func(s scripted) { s.change(`ping_interval = "50s"`); s.renew() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := walk(t, "", "")
			a := s.Dial("/")
			says(t, a, "pause", "paused")
			s.idle()
			a.SendText("here")
			s.t = t
			end(s)
			a.WantText("here")
		})
	}
}
