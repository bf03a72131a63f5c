package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"redthread/collab/live"
	"redthread/seeds"
)

// crashRounds is how often the server dies between commit and announcement.
func crashRounds() int {
	if os.Getenv("REDTHREAD_SOAK") != "" {
		return 100
	}
	return 5
}

// watcher is a page that follows the log over the deaths of the server.
type watcher struct {
	epoch string
	last  int64
	refs  []string // of the changes, in their order
}

// watch follows until the connection ends.
func (w *watcher) watch(p *process, inv, token string, until int64) error {
	d := websocket.Dialer{Subprotocols: []string{live.Subprotocol}, HandshakeTimeout: 10 * time.Second}
	c, _, err := d.Dial(fmt.Sprintf("ws%s/live/investigations/%s?epoch=%s&after=%d", strings.TrimPrefix(p.url, "http"), inv, w.epoch, w.last),
		http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return err
	}
	defer c.Close()
	for until == 0 || w.last < until {
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return err
		}
		_, raw, err := c.ReadMessage()
		if err != nil {
			return err
		}
		var m struct {
			Type, Epoch, Ref string
			Offset           int64
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		switch {
		case m.Type == live.TypeHello:
			w.epoch = m.Epoch
		case m.Type == live.TypeReload:
			return fmt.Errorf("told to reload at %d", w.last)
		case m.Offset > 0:
			if m.Offset != w.last+1 {
				return fmt.Errorf("change %d after %d", m.Offset, w.last)
			}
			w.last = m.Offset
			w.refs = append(w.refs, m.Ref)
		}
	}
	return nil
}

// TestLiveCrash kills the server between the commit of a change and its
// announcement, again and again, while people write and others watch: whatever was
// confirmed is in the log once, and every watcher gets every change in its order,
// also the one of which nobody was told.
func TestLiveCrash(t *testing.T) {
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 4))
	faulty := filepath.Join(t.TempDir(), "redthread")
	build := exec.Command("go", "build", "-tags", "faults", "-o", faulty, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	whole := program
	program = faulty
	t.Cleanup(func() { program = whole })

	dir := t.TempDir()
	p := start(t, dir)
	inv := p.openInvestigation(t)
	token := p.admin()
	p.kill()
	watchers := make([]watcher, 3)
	confirmed := map[string]bool{}
	open := []string{"ref-0"} // tried, and nobody said whether it was done
	n := 0
	write := func(ref string) bool {
		req, err := http.NewRequest(http.MethodPost, p.url+"/api/v1/investigations/"+inv+"/blocks", strings.NewReader(`{"ref":"`+ref+`","kind":"note","text":"`+ref+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode/100 != 2 {
			t.Logf("%s: %s %s %v", ref, res.Status, body, err)
			return false
		}
		confirmed[ref] = true
		return true
	}
	for range crashRounds() {
		t.Setenv("REDTHREAD_DIE_BEFORE_ANNOUNCE", strconv.Itoa(1+r.IntN(15)))
		p = start(t, dir)
		p.token = token
		var watching sync.WaitGroup
		for i := range watchers {
			watching.Go(func() { _ = watchers[i].watch(p, inv, token, 0) }) // until it dies
		}
		for alive := true; alive; {
			ref := open[0]
			if alive = write(ref); alive {
				n++
				open[0] = fmt.Sprint("ref-", n)
			}
		}
		watching.Wait()
		p.kill()
	}
	t.Setenv("REDTHREAD_DIE_BEFORE_ANNOUNCE", "")
	p = start(t, dir)
	p.token = token
	if !write(open[0]) {
		t.Fatal("the last note was refused")
	}
	var log struct {
		Offset  int64
		Changes []struct {
			Offset int64
			Ref    string
		}
	}
	for after := int64(0); ; {
		if got := p.api(http.MethodGet, fmt.Sprintf("/api/v1/investigations/%s/changes?after=%d", inv, after), nil, &log); got != 200 {
			t.Fatalf("changes: status %d", got)
		}
		for _, c := range log.Changes {
			after++
			if c.Offset != after {
				t.Fatalf("change %d where %d should be", c.Offset, after)
			}
			if c.Ref != "" && c.Ref != fmt.Sprint("ref-", after-2) { // the first change is the opening
				t.Errorf("change %d is %s: lost, doubled or out of order", after, c.Ref)
			}
			delete(confirmed, c.Ref)
		}
		if after == log.Offset {
			break
		}
	}
	if len(confirmed) > 0 {
		t.Errorf("confirmed, and not in the log: %v", confirmed)
	}
	for i := range watchers {
		w := &watchers[i]
		if err := w.watch(p, inv, token, log.Offset); err != nil {
			t.Errorf("watcher %d: %v", i, err)
		}
		for k, ref := range w.refs[1:] {
			if ref != fmt.Sprint("ref-", k) {
				t.Errorf("watcher %d got %s as change %d", i, ref, k+2)
			}
		}
	}
	t.Logf("%d deaths between commit and announcement, %d changes, %d watchers: nothing lost, doubled or out of order", crashRounds(), log.Offset, len(watchers))
	p.stop()
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)
}
