package handlers

import (
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
	"redthread/views/ui"
)

// liveMarks keeps how pins compared when somebody last looked. It is a memory
// aid: a restart forgets it, and when full it starts anew.
type liveMarks struct {
	mu    sync.Mutex
	marks map[collab.BlockID]markedAt
}

type markedAt struct {
	views.LiveMark
	at time.Time
}

const (
	maxLiveMarks = 5_000 // some hundred kilobytes
	// liveMarkAge is how long a comparison is worth showing: the data goes on.
	liveMarkAge = 5 * time.Minute
)

func (m *liveMarks) put(id collab.BlockID, mark views.LiveMark, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marks == nil || len(m.marks) >= maxLiveMarks {
		m.marks = map[collab.BlockID]markedAt{}
	}
	m.marks[id] = markedAt{mark, now}
}

// liveMark is what the card of a pin says of the live data.
func (s *Server) liveMark(b *collab.Block) views.LiveMark {
	s.marks.mu.Lock()
	defer s.marks.mu.Unlock()
	if m, ok := s.marks.marks[b.ID]; ok && s.Now().Sub(m.at) < liveMarkAge {
		return m.LiveMark
	}
	return views.LiveMark{ID: string(b.ID), Href: blockURL(b) + "/compare"}
}

// compare compares a pin with the live data and remembers how it went.
func (s *Server) compare(c echo.Context) (*collab.Block, *collab.Comparison, error) {
	ctx := c.Request().Context()
	block, err := s.Collab.BlockByID(ctx, investigationParam(c), blockParam(c))
	if err != nil {
		return nil, nil, err
	}
	cmp, err := s.Collab.ComparePin(ctx, block.InvestigationID, block.ID)
	if err != nil {
		return nil, nil, err
	}
	s.marks.put(block.ID, views.LiveMark{ID: string(block.ID), State: string(cmp.State), What: changesInShort(cmp), Href: blockURL(block) + "/compare"}, s.Now())
	return block, cmp, nil
}

// comparePin answers GET /i/:id/blocks/:block/compare: the frozen copy beside
// what is there now.
func (s *Server) comparePin(c echo.Context) error {
	ctx := c.Request().Context()
	block, cmp, err := s.compare(c)
	if err != nil {
		return err
	}
	if isFragment(c) {
		return render(c, http.StatusOK, views.LiveMarkFragment(s.liveMark(block)))
	}
	page, err := s.page(c, "Compare "+block.Title, views.SectionInvestigations)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/explore.css", "css/investigation.css", "css/board.css"}
	v := views.Compare{Page: page, Board: string(block.InvestigationID), Title: block.Title, State: string(cmp.State), Back: "/i/" + string(block.InvestigationID) + "#" + string(block.ID),
		Href: block.Locator, FrozenAt: nanoTime(block.Evidence.FrozenUnixNano), FrozenBy: block.Evidence.FrozenByName, FrozenSHA256: cmp.FrozenSHA256, LiveSHA256: cmp.LiveSHA256,
		MoreChanges: cmp.More}
	v.Changes = valueChanges(cmp.Changes)
	frozen, err := s.pinCard(ctx, block)
	if err != nil {
		return err
	}
	v.Frozen = cardBody(frozen, block.Sides)
	if cmp.Live != nil {
		now, err := drawCard(block.Kind, cmp.Live)
		if err != nil {
			return err
		}
		v.Live = cardBody(now, block.Sides)
	}
	return render(c, http.StatusOK, views.ComparePage(v))
}

// valueChanges are differences as the page lists them: those that read alike, as of
// the edges of a storm, are one line, and a duration says its nanoseconds only where
// nothing else tells two apart.
func valueChanges(list []collab.Difference) []views.ValueChange {
	var out []views.ValueChange
	at := map[views.ValueChange]int{}
	times := map[int]int{}
	for _, d := range list {
		if was, is := nanoTail.ReplaceAllString(d.Frozen, ""), nanoTail.ReplaceAllString(d.Live, ""); was != is {
			d.Frozen, d.Live = was, is
		}
		ch := views.ValueChange{What: d.What, Frozen: clipRunes(d.Frozen, 400), Live: clipRunes(d.Live, 400)}
		i, known := at[ch]
		if !known {
			i = len(out)
			at[ch] = i
			out = append(out, ch)
		}
		times[i]++
	}
	for i, n := range times {
		if n > 1 {
			out[i].What += " ×" + ui.Count(n)
		}
	}
	return out
}

// nanoTail is what exactDuration adds.
var nanoTail = regexp.MustCompile(` \(\d+ ns\)$`)

// comparePinJSON answers GET /api/v1/investigations/:id/pins/:block/compare.
func (s *Server) comparePinJSON(c echo.Context) error {
	_, cmp, err := s.compare(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, cmp)
}

// changesInShort is what changed in a few words, "" if nothing did.
func changesInShort(cmp *collab.Comparison) string {
	if cmp.State != collab.LiveChanged || len(cmp.Changes) == 0 {
		return ""
	}
	text := cmp.Changes[0].What
	if n := len(cmp.Changes) + cmp.More - 1; n > 0 {
		text += " and " + countWord(n, "other change")
	}
	return text
}
