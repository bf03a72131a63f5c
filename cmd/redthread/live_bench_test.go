package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"redthread/collab/live"
)

// liveBench says whether the measurement of live investigations is asked for: it
// takes a minute and wants the machine for itself.
func liveBench(t *testing.T) {
	if os.Getenv("REDTHREAD_BENCH") == "" {
		t.Skip("a measurement: REDTHREAD_BENCH=1 runs it")
	}
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// viewer opens the socket of an investigation, or, without an id, that of a page
// that is no board. A small buffer makes a reader that stalls felt at once.
func (p *process) viewer(id string, token string, buffer int) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{live.Subprotocol}, HandshakeTimeout: 30 * time.Second, ReadBufferSize: 1024, WriteBufferSize: 256,
		NetDial: func(network, address string) (net.Conn, error) {
			c, err := net.Dial(network, address)
			if err == nil && buffer > 0 {
				err = c.(*net.TCPConn).SetReadBuffer(buffer)
			}
			return c, err
		}}
	path := "/live/here?path=/explore"
	if id != "" {
		path = "/live/investigations/" + id
	}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(p.url, "http")+path, http.Header{"Authorization": {"Bearer " + token}})
	return c, err
}

// TestLiveLoad has 1,000 people look at one investigation on which 20 changes a
// second are made, and prints how long it takes from the commit of
// a change until its frame is read, and what the server needs. Then one reader
// stalls. The commit is the time that the log gives the change, taken just before,
// so that what is printed is an upper bound.
func TestLiveLoad(t *testing.T) {
	liveBench(t)
	viewers, rate, length := envInt("REDTHREAD_VIEWERS", 1000), 20, time.Duration(envInt("REDTHREAD_SECONDS", 20))*time.Second
	p := start(t, t.TempDir(), "--memory", "1GiB") // with less, the collector fights for room, and is what is measured
	inv := p.openInvestigation(t)
	token := p.admin()
	var mu sync.Mutex
	var took []time.Duration
	collect := false
	var readers sync.WaitGroup
	var conns []*websocket.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
		readers.Wait()
	}()
	watch := func(c *websocket.Conn) {
		defer c.Close()
		for {
			_, raw, err := c.ReadMessage()
			if err != nil {
				return
			}
			now := time.Now()
			var m struct {
				Type   string
				At     int64 `json:"at,string"`
				Offset int64
			}
			if json.Unmarshal(raw, &m) != nil || m.Type != "note.added" {
				continue
			}
			mu.Lock()
			if collect {
				took = append(took, now.Sub(time.Unix(0, m.At)))
			}
			mu.Unlock()
		}
	}
	for i := range viewers {
		c, err := p.viewer(inv, token, 0)
		if err != nil {
			t.Fatalf("viewer %d: %v", i, err)
		}
		conns = append(conns, c)
		readers.Go(func() { watch(c) })
	}
	// measure makes changes at the rate, whatever each takes, for the length.
	measure := func(what string) {
		mu.Lock()
		took, collect = took[:0], true
		mu.Unlock()
		before := p.used(t)
		begin := time.Now()
		made := 0
		var writers sync.WaitGroup
		tick := time.NewTicker(time.Second / time.Duration(rate))
		for time.Since(begin) < length {
			<-tick.C
			made++
			ref := fmt.Sprintf("%s-%d", what, made)
			writers.Go(func() {
				body := `{"ref":"` + ref + `","kind":"note","text":"The dealer answers after nine seconds; nobody knows why."}`
				req, err := http.NewRequest(http.MethodPost, p.url+"/api/v1/investigations/"+inv+"/blocks", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				req.Header.Set("Content-Type", "application/json")
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				if _ = res.Body.Close(); res.StatusCode != 201 {
					t.Errorf("note: status %d", res.StatusCode)
				}
			})
		}
		writers.Wait()
		tick.Stop()
		after := p.used(t)
		lasted := time.Since(begin)
		want := made * viewers
		eventually(t, 20*time.Second, "every viewer has every change", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(took) < want {
				return fmt.Errorf("%d of %d", len(took), want)
			}
			return nil
		})
		mu.Lock()
		collect = false
		list := slices.Clone(took)
		mu.Unlock()
		slices.Sort(list)
		at := func(q float64) time.Duration {
			return list[min(int(q*float64(len(list))), len(list)-1)].Round(100 * time.Microsecond)
		}
		t.Logf("%s: %d viewers, %d changes in %s: %d frames; commit to socket p50 %s, p99 %s, max %s; server CPU %.0f %% of a core, RSS %d MiB",
			what, viewers, made, lasted.Round(time.Millisecond), len(list), at(.5), at(.99), at(1), 100*(after.cpu-before.cpu).Seconds()/lasted.Seconds(), after.rss>>20)
	}
	measure("all read")
	stalled, err := p.viewer(inv, token, 4096) // and never reads
	if err != nil {
		t.Fatal(err)
	}
	conns = append(conns, stalled)
	measure("one stalls")
}

// TestLiveIdle has 5,000 sockets open that nothing happens on, and prints what
// they need.
func TestLiveIdle(t *testing.T) {
	liveBench(t)
	sockets := envInt("REDTHREAD_SOCKETS", 5000)
	p := start(t, t.TempDir(), "--memory", "1GiB") // with less, the collector fights for room, and is what is measured
	inv := p.openInvestigation(t)
	token := p.admin()
	before := p.used(t)
	var conns []*websocket.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range sockets {
		c, err := p.viewer(inv, token, 0)
		if err != nil {
			t.Fatalf("socket %d: %v", i, err)
		}
		conns = append(conns, c)
		go func() {
			for {
				if _, _, err := c.NextReader(); err != nil {
					return
				}
			}
		}()
	}
	<-time.After(5 * time.Second) // what the joining left is told and collected
	opened := p.used(t)
	<-time.After(10 * time.Second)
	idle := p.used(t)
	t.Logf("%d idle sockets: RSS %d MiB, %d MiB before them: %.1f KiB each; CPU %.1f %% of a core",
		sockets, idle.rss>>20, before.rss>>20, float64(idle.rss-before.rss)/1024/float64(sockets), 100*(idle.cpu-opened.cpu).Seconds()/10)
}

func (p *process) openInvestigation(t *testing.T) string {
	t.Helper()
	var inv investigationState
	if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": "Load"}, &inv); got != 201 {
		t.Fatalf("open an investigation: status %d", got)
	}
	return inv.ID
}

// used is what a process has used.
type used struct {
	cpu time.Duration
	rss int64 // bytes
}

// used reads /proc; without it the test is skipped.
func (p *process) used(t *testing.T) used {
	t.Helper()
	pid := strconv.Itoa(p.cmd.Process.Pid)
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	statm, err2 := os.ReadFile("/proc/" + pid + "/statm")
	if err := errors.Join(err, err2); err != nil {
		t.Skipf("no /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest) // from the third on: proc(5)
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	pages, err3 := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	return used{cpu: time.Duration(user+system) * 10 * time.Millisecond, rss: pages * int64(os.Getpagesize())}
}
