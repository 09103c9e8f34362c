package main

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// together runs the whole cluster until it is told to end, and returns the exit
// status. On machines of yours each NATS server is a nats-server and each node a
// pushd of its own; docs/cluster.md has their configs.
func together() int {
	ports := []string{"8101/2347", "8102/2348", "8103/2349"} // of clients, of the HTTP API
	if given := os.Getenv("CLUSTER_PORTS"); given != "" {
		ports = strings.Split(given, ",")
	}
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	servers, err := startNATS(len(ports))
	for _, s := range servers {
		defer s.Shutdown()
	}
	if err != nil {
		return fail(err)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	over := make(chan string, len(ports))
	var nodes []*exec.Cmd
	for i, port := range ports {
		port, api, _ := strings.Cut(port, "/")
		node, err := startNode(fmt.Sprint("n", i+1), port, api, dir, around(servers, i))
		if err != nil {
			stop(nodes)
			return fail(err)
		}
		nodes = append(nodes, node)
		fmt.Printf("node n%d: http://127.0.0.1:%s/  (process %d)\n", i+1, port, node.Process.Pid)
		go func() { over <- fmt.Sprintf("node n%d ended: %v", i+1, node.Wait()) }()
	}
	for left := len(nodes); left > 0; left-- {
		select {
		case what := <-over:
			fmt.Println(what)
		case <-end:
			signal.Stop(end)
			stop(nodes)
			for ; left > 0; left-- {
				<-over
			}
			return 0
		}
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "cluster:", err)
	return 1
}

// startNATS starts servers that know each other. Route pings tell them within 3 s
// that a route is dead; without they need minutes.
func startNATS(n int) (all []*server.Server, err error) {
	var routes []*url.URL
	for i := range n {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("nats", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT, MaxPayload: 2 << 20, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: server.RANDOM_PORT, PingInterval: time.Second, MaxPingsOut: 3},
			Routes:  routes,
		})
		if err != nil {
			return all, err
		}
		s.Start()
		all = append(all, s)
		if !s.ReadyForConnections(time.Minute) {
			return all, fmt.Errorf("NATS server %d does not start", i+1)
		}
		routes = append(routes, &url.URL{Scheme: "nats", Host: s.ClusterAddr().String()})
	}
	return all, nil
}

// around lists the servers for a node: its own first.
func around(servers []*server.Server, i int) string {
	var urls []string
	for j := range servers {
		urls = append(urls, servers[(i+j)%len(servers)].ClientURL())
	}
	return strings.Join(urls, ",")
}

// startNode starts this program as a node.
func startNode(name, port, api, dir, nats string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self, "start")
	c.Env = append(os.Environ(),
		"PUSHD_CLUSTER_NODE="+name, "PUSHD_BROKER_URL="+nats, "PUSHD_LISTEN=127.0.0.1:"+port,
		"PUSHD_RUNTIME_DIR="+dir+"/"+name, "PUSHD_DATA_DIR="+dir+"/"+name+"-data", "PUSHD_API_LISTEN=127.0.0.1:"+api)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c, c.Start()
}

// stop tells the nodes to close their clients and end.
func stop(nodes []*exec.Cmd) {
	for _, n := range nodes {
		_ = n.Process.Signal(syscall.SIGTERM) // one that has ended is no fault
	}
}
