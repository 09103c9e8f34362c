package reactor

import "github.com/panjf2000/gnet/v2/pkg/pool/goroutine"

// gnet makes a pool of goroutines for sockets that a program hands to its loops,
// which nobody does here. With it every process of the program, the master too,
// has two goroutines that look at a clock, one of them twice a second. A server
// without traffic is woken by little else.
func init() { goroutine.DefaultWorkerPool.Release() }
