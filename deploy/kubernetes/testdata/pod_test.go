package kubernetes

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// secrets are those that README.md asks for.
func secrets(nats string) map[string]string {
	return map[string]string{
		"broker-url": nats, "api-key": "an-api-key-of-16-bytes", "app-key": "my-key", "app-secret": "my-secret-of-16-bytes",
	}
}

// TestPod starts the image as the set says, with folders as the kubelet makes them:
// it becomes ready, and clients and back ends get in on the ports of the service.
func TestPod(t *testing.T) {
	all := manifests(t)
	set := all["StatefulSet pushd"].(*apps.StatefulSet)
	pod := set.Spec.Template.Spec
	c := pod.Containers[0]
	i, given := newImage(t), secrets(runNATS(t))
	for _, m := range c.VolumeMounts {
		i.volume(t, m, &pod, all["ConfigMap pushd"].(*core.ConfigMap).Data, given)
	}
	if *c.SecurityContext.ReadOnlyRootFilesystem {
		mount(t, "", i.root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}
	r := i.start(t, variables(t, c.Env), c.Args...)

	ports := map[string]int32{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for _, p := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		r.answers(t, fmt.Sprintf("http://127.0.0.2:%d%s", ports[p.HTTPGet.Port.StrVal], p.HTTPGet.Path), "", 200)
	}
	for _, p := range all["Service pushd"].(*core.Service).Spec.Ports {
		addr := fmt.Sprintf("127.0.0.2:%d", ports[p.TargetPort.StrVal])
		switch p.Name {
		case "clients":
			getsIn(t, addr, given["app-key"])
		case "api":
			r.answers(t, "http://"+addr+"/v1/stats", given["api-key"], 200)
		default:
			t.Errorf("nobody has tried the port %s", p.Name)
		}
	}
}

// runNATS runs a server until the test is over.
func runNATS(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, MaxPayload: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s.ClientURL()
}

// variables are those of the container.
func variables(t *testing.T, env []core.EnvVar) (list []string) {
	t.Helper()
	for _, v := range env {
		if v.ValueFrom != nil && v.ValueFrom.FieldRef.FieldPath == "metadata.name" {
			v.Value = "pushd-0"
		}
		if v.Value == "" {
			t.Fatalf("a value of %s is not known here", v.Name)
		}
		list = append(list, v.Name+"="+v.Value)
	}
	return list
}

// volume mounts one as the kubelet does: the folder is anybody's, and of the group
// fsGroup; files of maps and secrets are links into a folder beside them.
func (i *image) volume(t *testing.T, m core.VolumeMount, pod *core.PodSpec, config, secret map[string]string) {
	t.Helper()
	at := i.root + m.MountPath
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, "tmpfs", at, "tmpfs", 0, "")
	for _, v := range pod.Volumes {
		switch {
		case v.Name != m.Name:
		case v.ConfigMap != nil:
			files(t, at, config, 0o644)
		case v.Secret != nil:
			files(t, at, secret, os.FileMode(*v.Secret.DefaultMode))
		case v.EmptyDir == nil:
			t.Fatalf("volume %s is of a kind that is not tried", v.Name)
		}
	}
	give(t, at, int(*pod.SecurityContext.FSGroup))
	if err := os.Chmod(at, 0o777|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, at string, data map[string]string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(at+"/..2026", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..2026", at+"/..data"); err != nil {
		t.Fatal(err)
	}
	for name, text := range data {
		file := at + "/..2026/" + name
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		give(t, file, user)
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..data/"+name, at+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
}

// give makes a file that of root and a group.
func give(t *testing.T, file string, group int) {
	t.Helper()
	if !ownIDs() {
		return
	}
	if err := os.Chown(file, 0, group); err != nil {
		t.Fatal(err)
	}
}

// getsIn connects as a client of the Pusher protocol does.
func getsIn(t *testing.T, addr, key string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatalf("the service's port for clients: %v", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET /app/%s?protocol=7&client=test&version=1 HTTP/1.1\r\nHost: push.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", key)
	in := bufio.NewReader(c)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("a client gets %v, %v", answer, err)
	}
	first := make([]byte, 64)
	n, err := in.Read(first)
	if err != nil || !strings.Contains(string(first[:n]), "pusher:connection_established") {
		t.Fatalf("a client is told %q, %v", first[:n], err)
	}
}
