// Command peers is the servers that pushbench compares pushd with, each written
// as its library's README shows and with its defaults: /echo returns a message
// unchanged, /chat?room=NAME sends it unchanged to everyone else in the room.
//
//	peers NAME [--listen 127.0.0.1:9001] [--loops 2]
//
// It prints "ready" once it accepts. The module is its own, so that none of
// these libraries enters pushd's.
package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// peer serves addr until it fails. It calls ready once it accepts. Loops is
// how many event loops it may run; GOMAXPROCS has the same value.
type peer func(addr string, loops int, ready func()) error

var peers = map[string]peer{
	"coder":       overHTTP(coderEcho, coderChat),
	"gnet":        gnetServer,
	"gobwas":      gobwasServer,
	"gorilla":     overHTTP(gorillaEcho, gorillaChat),
	"gorilla-tls": overTLS(gorillaEcho, gorillaChat),
	"gws":         overHTTP(gwsEcho(), gwsChat()),
	"melody":      overHTTP(melodyEcho(), melodyChat()),
	"nbio":        nbioServer,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	names := slices.Sorted(maps.Keys(peers))
	if len(args) == 0 || peers[args[0]] == nil {
		return fmt.Errorf("name one of %s", strings.Join(names, ", "))
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	addr := flags.String("listen", "127.0.0.1:9001", "`ADDRESS` to listen on")
	loops := flags.Int("loops", runtime.NumCPU(), "event loops, and GOMAXPROCS")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	runtime.GOMAXPROCS(*loops)
	return peers[args[0]](*addr, *loops, func() { fmt.Println("ready") })
}

// overHTTP is a peer that upgrades requests of net/http.
func overHTTP(echo, chat http.HandlerFunc) peer { return serve(net.Listen, echo, chat) }

// overTLS is overHTTP behind crypto/tls, as http.ServeTLS does it, with a
// certificate of its own.
func overTLS(echo, chat http.HandlerFunc) peer {
	return serve(func(network, addr string) (net.Listener, error) {
		pair, err := selfSigned()
		if err != nil {
			return nil, err
		}
		return tls.Listen(network, addr, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	}, echo, chat)
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func serve(listen func(network, addr string) (net.Listener, error), echo, chat http.HandlerFunc) peer {
	return func(addr string, _ int, ready func()) error {
		listener, err := listen("tcp", addr)
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/echo", echo)
		mux.HandleFunc("/chat", chat)
		ready()
		return http.Serve(listener, mux)
	}
}

// roomName is the room that a query asks for.
func roomName(r *http.Request) string { return cmp.Or(r.URL.Query().Get("room"), "default") }
