package kubernetes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// user is who runs in the image.
const user = 65532

// image is what deploy/Dockerfile makes, without an engine: its folders are made by
// the words of the file itself.
type image struct {
	root       string
	env        []string
	entrypoint []string
	cmd        []string
}

// newImage makes the image in a file system of its own.
func newImage(t *testing.T) *image {
	t.Helper()
	text, err := os.ReadFile(repository + "/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	i := &image{root: t.TempDir()}
	mount(t, "tmpfs", i.root, "tmpfs", 0, "mode=755")
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "FROM" && strings.HasPrefix(rest, "golang:"), word == "RUN" && rest == "go mod download":
		case word == "RUN":
			i.make(t, rest)
		case word == "ENV":
			i.env = strings.Fields(rest)
		case word == "USER" && rest != fmt.Sprintf("%d:%d", user, user):
			t.Fatalf("the image's user is %s", rest)
		case word == "ENTRYPOINT":
			i.entrypoint = list(t, rest)
		case word == "CMD":
			i.cmd = list(t, rest)
		}
	}
	for _, dir := range []string{"/proc", "/dev"} {
		if err := os.Mkdir(i.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, dir, i.root+dir, "", syscall.MS_BIND|syscall.MS_REC, "")
	}
	return i
}

func list(t *testing.T, text string) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &words); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return words
}

// make obeys RUN, with the program that is built already. Files that may not be given
// away stay those of whoever tests.
func (i *image) make(t *testing.T, run string) {
	t.Helper()
	src := t.TempDir()
	deploy, err := filepath.Abs(repository + "/deploy")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-ec", `
make() { mkdir bin; cp "$PROGRAM" bin/pushd; ln -s pushd bin/pushctl; ln -s "$DEPLOY" deploy; }
chown() { command chown "$@" || test "$(wc -l < /proc/self/uid_map)" = 1; }
`+strings.ReplaceAll(run, "/out", i.root))
	c.Dir, c.Env = src, append(os.Environ(), "PROGRAM="+os.Getenv(programEnv), "DEPLOY="+deploy)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("RUN %s: %v\n%s", run, err, out)
	}
}

// mount mounts until the test is over.
func mount(t *testing.T, from, at, kind string, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount(from, at, kind, flags, options); err != nil {
		t.Fatalf("mount %s: %v", at, err)
	}
	t.Cleanup(func() { syscall.Unmount(at, syscall.MNT_DETACH) })
}

// container is a process in an image.
type container struct {
	c    *exec.Cmd
	mu   sync.Mutex
	said bytes.Buffer
	over chan struct{}
}

// start runs the image's program until the test is over. env comes before the image's.
func (i *image) start(t *testing.T, env []string, args ...string) *container {
	t.Helper()
	argv := slices.Concat(i.entrypoint, args)
	if len(args) == 0 {
		argv = slices.Concat(i.entrypoint, i.cmd)
	}
	r := &container{over: make(chan struct{})}
	r.c = &exec.Cmd{Path: argv[0], Args: argv, Dir: "/", Env: slices.Concat([]string{"HOME=/"}, i.env, env), Stdout: r, Stderr: r}
	r.c.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root, Pdeathsig: syscall.SIGKILL}
	if ownIDs() {
		r.c.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
	}
	if err := r.c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.c.Wait()
		close(r.over)
	}()
	t.Cleanup(func() {
		r.c.Process.Signal(syscall.SIGTERM)
		<-r.over
		if t.Failed() {
			t.Logf("%s", r)
		}
	})
	return r
}

// ownIDs reports whether processes may be started as any user, and files given to him.
func ownIDs() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Fields(string(text))[2] != "1"
}

func (r *container) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.Write(b)
}

func (r *container) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.String()
}

// patience is for machines that are busy.
const patience = 60 * time.Second

// answers waits until url has a status.
func (r *container) answers(t *testing.T, url, key string, status int) {
	t.Helper()
	last := ""
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		select {
		case <-r.over:
			t.Fatalf("it has ended:\n%s", r)
		default:
		}
		q, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+key)
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			last = err.Error()
			continue
		}
		a.Body.Close()
		if last = a.Status; a.StatusCode == status {
			return
		}
	}
	t.Fatalf("%s: %s, want %d\n%s", url, last, status, r)
}

// TestImage: without a file clients of other machines get in, and what a file that is
// mounted says counts. What it does not say is the image's.
func TestImage(t *testing.T) {
	const group = "[[worker]]\nname = \"%s\"\nlisten = \"websocket://0.0.0.0:%d\"\nroutes = { \"/up\" = \"pusher\" }\n"
	for _, x := range []struct {
		name, file string
		env        []string
		ports      []int
	}{
		{"no file", "", nil, []int{2346}},
		{"a variable", "", []string{"PUSHD_LISTEN=0.0.0.0:8080"}, []int{8080}},
		{"one group", fmt.Sprintf(group, "a", 8080), nil, []int{8080}},
		{"two groups of a scheme", fmt.Sprintf(group, "a", 8080) + fmt.Sprintf(group, "b", 8081), nil, []int{8080, 8081}},
	} {
		t.Run(x.name, func(t *testing.T) {
			i := newImage(t)
			if x.file != "" {
				if err := os.WriteFile(i.root+"/etc/pushd/pushd.toml", []byte(x.file), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r := i.start(t, x.env)
			for _, port := range x.ports {
				r.answers(t, fmt.Sprintf("http://127.0.0.2:%d/up", port), "", 200) // any address but the default's
			}
			for _, f := range []string{"/run/pushd/pushd.lock", "/data/api.key"} {
				if _, err := os.Stat(i.root + f); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
