package handlers

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/collab"
	"redthread/seeds"
)

// liveSeeds is how many seeds the fuzz runs: 20, or 1,000 under soak.
func liveSeeds() int {
	if os.Getenv("REDTHREAD_SOAK") != "" {
		return 1000
	}
	return 20
}

// TestLiveFuzz lets people edit one investigation at random over two servers on
// one database and one NATS, while connections are cut, readers stall, one of the
// people loses access and gets it back, a server dies between the commit of a change
// and its announcement, and NATS stops and starts. At the end every board is the
// server's, the log adds up to it, each page has seen each change once, in the same
// order, and nobody did or saw a thing while they had no access. A run mostly waits:
// -parallel runs more than there are processors.
func TestLiveFuzz(t *testing.T) {
	site := newSite(t)
	site.addTrace()
	first, runs := seeds.Many(t, liveSeeds())
	sum := fuzzSum{kinds: map[collab.ChangeType]*atomic.Int64{}}
	for _, typ := range fuzzKinds {
		sum.kinds[typ] = &atomic.Int64{}
	}
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed != first+uint64(runs); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				defer func() {
					if t.Failed() {
						t.Logf("REDTHREAD_SEED=%d runs it again", seed)
					}
				}()
				w := newFuzzWorld(t, site, seed, boardTrace)
				w.run()
				w.check(&sum)
			})
		}
	})
	kinds := ""
	for _, typ := range fuzzKinds {
		n := sum.kinds[typ].Load()
		kinds += fmt.Sprintf(", %s %d", typ, n)
		if n == 0 && runs >= 200 {
			t.Errorf("%d seeds made no %s", runs, typ)
		}
	}
	if t.Failed() {
		return
	}
	t.Logf("%d seeds: %d changes, %d received by %d pages; %d cuts, %d stalls (%d readers shed), %d deaths between commit and announcement, %d announcements lost, %d stops of NATS, %d times access was taken and given back; nothing lost, doubled or out of order",
		runs, sum.changes.Load(), sum.received.Load(), sum.pages.Load(), sum.cuts.Load(), sum.stalls.Load(), sum.shed.Load(), sum.deaths.Load(), sum.unsaid.Load(), sum.stops.Load(), sum.barred.Load())
	t.Logf("of these%s", kinds[1:])
}

// fuzzKinds are the changes that the fuzz makes: all but those that end a log.
var fuzzKinds = []collab.ChangeType{
	collab.InvestigationCreated, collab.InvestigationUpdated, collab.InvestigationMerged,
	collab.PinAdded, collab.PinUpdated, collab.PinDeleted, collab.NoteAdded, collab.NoteUpdated, collab.NoteDeleted,
	collab.LinkAdded, collab.LinkUpdated, collab.LinkDeleted, collab.TaskAdded, collab.TaskUpdated, collab.TaskDeleted,
	collab.HypothesisAdded, collab.HypothesisUpdated, collab.HypothesisDeleted,
	collab.AnnotationAdded, collab.AnnotationUpdated, collab.AnnotationDeleted, collab.AnnotationReacted, collab.AnnotationResolved, collab.AnnotationReopened,
	collab.EntryAdded, collab.EntryUpdated, collab.EntryDeleted,
}

type fuzzSum struct {
	changes, received, pages, cuts, stalls, shed, deaths, unsaid, stops, barred atomic.Int64

	kinds map[collab.ChangeType]*atomic.Int64
}

func (s *fuzzSum) add(o *fuzzSum) {
	for _, pair := range [][2]*atomic.Int64{{&s.cuts, &o.cuts}, {&s.stalls, &o.stalls}, {&s.shed, &o.shed}, {&s.deaths, &o.deaths}, {&s.unsaid, &o.unsaid},
		{&s.stops, &o.stops}, {&s.barred, &o.barred}} {
		pair[0].Add(pair[1].Load())
	}
}

// check compares everybody with the log and the board of the database.
func (w *fuzzWorld) check(sum *fuzzSum) {
	t := w.t
	ctx := collab.AsServer(t.Context())
	list, p, err := w.own.Changes(ctx, w.inv, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(list)) != p.Offset {
		t.Fatalf("%d changes in the log, which ends at %d; make a run shorter", len(list), p.Offset)
	}
	refs := map[string]int{}
	replayed := newFuzzState()
	for i := range list {
		c := &list[i]
		if c.Offset != int64(i+1) {
			t.Fatalf("change %d has offset %d", i+1, c.Offset)
		}
		replayed.apply(t, c)
		if c.Ref != "" {
			refs[c.Actor+" "+c.Ref]++
		}
		if n := sum.kinds[c.Type]; n != nil {
			n.Add(1)
		}
	}
	want := w.board(ctx)
	if diff := cmp.Diff(want, replayed.plain()); diff != "" {
		t.Errorf("the log does not add up to the board: -board +log\n%s", diff)
	}
	then, err := w.own.BoardAt(ctx, w.inv, p.Offset)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, w.plainBoard(ctx, &then.Board)); diff != "" {
		t.Errorf("the board as it is now, from the log: -board +then\n%s", diff)
	}
	for _, c := range w.clients {
		c.catchUp(p.Offset)
		if len(c.seen) != len(list) {
			t.Errorf("%s saw %d changes, want %d", c.name, len(c.seen), len(list))
			continue
		}
		for i, got := range c.seen {
			if want := fuzzKey(&list[i]); got != want {
				t.Errorf("%s saw %s as change %d, want %s", c.name, got, i+1, want)
			}
		}
		if diff := cmp.Diff(want, c.state.plain()); diff != "" {
			t.Errorf("the board of %s: -server +client\n%s", c.name, diff)
		}
		for ref := range c.made {
			if refs[c.id+" "+ref] != 1 {
				t.Errorf("%s was told that %s is made; it is in the log %d times", c.name, ref, refs[c.id+" "+ref])
			}
		}
		for ref := range c.denied {
			if refs[c.id+" "+ref] != 0 {
				t.Errorf("%s made %s without access", c.name, ref)
			}
		}
		sum.received.Add(int64(len(c.seen)))
	}
	for ref, n := range refs {
		if n > 1 {
			t.Errorf("%s was done %d times", ref, n)
		}
	}
	sum.changes.Add(int64(len(list)))
	sum.pages.Add(int64(len(w.clients)))
	sum.add(&w.sum)
}

// fuzzKey names a change; its data may be erased later.
func fuzzKey(c *collab.Change) string {
	return fmt.Sprint(c.Offset, " ", c.Type, " ", c.ID, " ", c.Actor, " ", c.Ref, " ", c.AtNano)
}
