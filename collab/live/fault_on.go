//go:build faults

package live

import (
	"os"
	"strconv"
	"sync/atomic"
)

var (
	announced atomic.Int64
	dieAt, _  = strconv.ParseInt(os.Getenv("REDTHREAD_DIE_BEFORE_ANNOUNCE"), 10, 64)
)

// beforeAnnounce kills the process, as signal 9 does, between the commit of the
// n-th change of its life and its announcement: n is in the environment.
func beforeAnnounce() {
	if announced.Add(1) != dieAt {
		return
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}
