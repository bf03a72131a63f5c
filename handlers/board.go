package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// board builds the views of one investigation.
type board struct {
	*collab.Board
	server   *Server
	actor    collab.Actor
	canWrite bool
	now      time.Time
	people   []collab.User
	home     map[collab.AnnotationID]collab.BlockID // where each annotation shows
	last     int64                                  // where the log ends

	// As it was at an offset, that of a moment; some of it may be erased since.
	replayed bool
	thenNano int64
	erased   int
}

// boardStyles are the style sheets of a board.
var boardStyles = []string{"css/explore.css", "css/investigation.css", "css/annotations.css", "css/timeline.css", "css/board.css"}

// activePeople are those who can do something.
func (s *Server) activePeople(ctx context.Context) ([]collab.User, error) {
	people, err := s.Collab.FindUsers(ctx)
	return slices.DeleteFunc(people, func(u collab.User) bool { return !u.Active() }), err
}

func (s *Server) readBoard(c echo.Context) (*board, error) {
	ctx := c.Request().Context()
	b, err := s.Collab.Board(ctx, investigationParam(c))
	if err != nil {
		return nil, err
	}
	actor, _ := collab.ActorFrom(ctx)
	people, err := s.activePeople(ctx)
	if err != nil {
		return nil, err
	}
	out := &board{Board: b, server: s, actor: actor, canWrite: actor.Role.AtLeast(collab.RoleMember), now: s.Now(), people: people, last: b.Investigation.Offset}
	out.placeAnnotations()
	return out, nil
}

// showInvestigation answers GET /i/:id, and with view=lanes shows the board by
// hypothesis. With at= it is as it was then.
func (s *Server) showInvestigation(c echo.Context) error {
	b, err := s.readBoardThen(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	view := c.QueryParam("view")
	if view != "" && view != "lanes" {
		return &collab.InvalidError{Field: "view", Message: "A board is shown in its order, without view, or with view=lanes."}
	}
	inv := b.Investigation
	page, err := s.page(c, inv.Title, views.SectionInvestigations)
	if err != nil {
		return err
	}
	page.Wide = true
	page.Styles = boardStyles
	head, err := b.head(ctx)
	if err != nil {
		return err
	}
	since, _, err := int64Param(c, "since")
	if err != nil {
		return err
	}
	v := views.Board{Page: page, Head: head, Since: since, Notes: b.notes(), Here: s.peopleHere(inv.ID, b.actor), Epoch: inv.Epoch, Offset: inv.Offset,
		Compose: b.composer(), ByLanes: view == "lanes"}
	blocks := make([]views.BoardBlock, len(b.Blocks))
	for i := range b.Blocks {
		if blocks[i], err = b.block(ctx, i); err != nil {
			return err
		}
		v.Hypotheses = v.Hypotheses || b.Blocks[i].Kind == collab.KindHypothesis
	}
	if v.ByLanes {
		v.Lanes = b.lanes(blocks)
	} else {
		v.Block = blocks
	}
	if v.Timeline, err = b.timeline(ctx, c.QueryParams()); err != nil {
		return err
	}
	if v.Replay, err = b.replay(ctx, c.QueryParams()); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.BoardPage(v))
}

// composer are the forms below the blocks.
func (b *board) composer() views.Composer {
	v := views.Composer{InvestigationID: string(b.Investigation.ID), Ref: uuid.NewString(), Refs: map[string]string{}, CanWrite: b.canWrite, People: b.peopleOptions("", "")}
	for _, k := range []collab.BlockKind{collab.KindHypothesis, collab.KindTask, collab.KindPicture, collab.KindComparison, collab.KindLink} {
		v.Refs[string(k)] = uuid.NewString()
	}
	for i := range b.Blocks {
		if k := b.Blocks[i].Kind; k.Pin() && k != collab.KindComparison {
			v.Pins = append(v.Pins, views.Option{Value: string(b.Blocks[i].ID), Label: string(k) + ": " + b.Blocks[i].Title})
		}
	}
	return v
}

// peopleOptions are the people a task can be given to; one who was deactivated
// since it was given is kept.
func (b *board) peopleOptions(id, name string) []views.Option {
	list := []views.Option{{Value: "", Label: "nobody"}}
	known := id == ""
	for _, u := range b.people {
		list = append(list, views.Option{Value: u.ID, Label: u.Name})
		known = known || u.ID == id
	}
	if !known {
		list = append(list, views.Option{Value: id, Label: name})
	}
	return list
}

// lanes puts each block with the first hypothesis that cites it, and the others
// in a lane of their own at the end.
func (b *board) lanes(blocks []views.BoardBlock) []views.Lane {
	var lanes []views.Lane
	rest := views.Lane{}
	at := map[collab.BlockID]int{}
	for i := range b.Blocks {
		if b.Blocks[i].Kind == collab.KindHypothesis {
			at[b.Blocks[i].ID] = len(lanes)
			lanes = append(lanes, views.Lane{Head: &blocks[i]})
		}
	}
	for i := range b.Blocks {
		block := &b.Blocks[i]
		if block.Kind == collab.KindHypothesis {
			continue
		}
		home, side := b.cites(block.ID)
		switch {
		case home == "":
			rest.Rest = append(rest.Rest, blocks[i])
		case side == collab.SideFor:
			lanes[at[home]].For = append(lanes[at[home]].For, blocks[i])
		default:
			lanes[at[home]].Against = append(lanes[at[home]].Against, blocks[i])
		}
	}
	return append(lanes, rest)
}

// cites returns the first hypothesis that a block speaks for or against.
func (b *board) cites(id collab.BlockID) (collab.BlockID, collab.EvidenceSide) {
	for i := range b.Blocks {
		if side := b.Blocks[i].References[id]; side != collab.SideNone {
			return b.Blocks[i].ID, side
		}
	}
	return "", collab.SideNone
}

// block is the view of the i-th block.
func (b *board) block(ctx context.Context, i int) (views.BoardBlock, error) {
	block := &b.Blocks[i]
	id := string(b.Investigation.ID)
	v := views.BoardBlock{InvestigationID: id, ID: string(block.ID), Kind: string(block.Kind), Position: block.Position, Title: block.Title,
		Href: block.Locator, By: block.CreatedByName, At: nanoTime(block.CreatedUnixNano), EditedBy: block.EditedByName, Now: b.now, Text: block.Text, URL: block.URL,
		Seen: b.Investigation.Offset, CanWrite: b.canWrite, AnnotateRef: uuid.NewString(), Annotations: b.annotations(block.ID),
		State: string(block.State), Done: block.Done, Assignee: block.Assignee, AssigneeName: block.AssigneeName, Due: timeAt(block.DueUnixNano)}
	if block.Kind == collab.KindLink && v.Title == "" {
		v.Title = "Link"
	}
	if block.Text != "" {
		v.HTML = markdown(block.Text)
	}
	if block.Kind == collab.KindTask {
		v.People = b.peopleOptions(block.Assignee, block.AssigneeName)
	}
	if p := block.Picture; p != nil {
		v.Picture = &views.PictureView{Src: blockURL(block) + "/picture", Width: p.Width, Height: p.Height}
	}
	b.connect(&v, block)
	if i > 0 {
		up := ""
		if i > 1 {
			up = string(b.Blocks[i-2].ID)
		}
		v.Up = &up
	}
	if i+1 < len(b.Blocks) {
		down := string(b.Blocks[i+1].ID)
		v.Down = &down
	}
	if block.Evidence == nil {
		return v, nil
	}
	e := block.Evidence
	v.Frozen = &views.FrozenMark{At: nanoTime(e.FrozenUnixNano), By: e.FrozenByName, SHA256: e.SHA256, Bytes: e.SizeBytes,
		Href: "/api/v1/investigations/" + url.PathEscape(id) + "/pins/" + url.PathEscape(string(block.ID)), Live: b.server.liveMark(block)}
	v.Frozen.Redacted = redactedWords(e)
	if b.canWrite && b.actor.Role.AtLeast(collab.RoleAdmin) && block.Kind != collab.KindComparison {
		v.Frozen.Redact = blockURL(block) + "/redact"
	}
	pic, err := b.server.pinCard(ctx, block)
	if err != nil {
		return v, err
	}
	v.Card = cardBody(pic, block.Sides)
	return v, nil
}

// connect fills in what ties a block to hypotheses.
func (b *board) connect(v *views.BoardBlock, block *collab.Block) {
	for i := range b.Blocks {
		other := &b.Blocks[i]
		switch block.References[other.ID] {
		case collab.SideFor:
			v.For = append(v.For, views.BlockRef{ID: string(other.ID), Title: blockName(other)})
		case collab.SideAgainst:
			v.Against = append(v.Against, views.BlockRef{ID: string(other.ID), Title: blockName(other)})
		}
		if other.Kind == collab.KindHypothesis && block.Kind.Citable() {
			v.Hypotheses = append(v.Hypotheses, views.HypothesisChoice{ID: string(other.ID), Title: clipRunes(other.Title, 80), Side: string(other.References[block.ID])})
		}
	}
}

// blockName is what a block is called where it is pointed at.
func blockName(b *collab.Block) string {
	switch {
	case b.Title != "":
		return clipRunes(b.Title, 80)
	case b.Text != "":
		return excerpt(b.Text)
	case b.URL != "":
		return clipRunes(b.URL, 80)
	}
	return string(b.Kind)
}

func blockURL(b *collab.Block) string {
	return "/i/" + url.PathEscape(string(b.InvestigationID)) + "/blocks/" + url.PathEscape(string(b.ID))
}

// pinCard draws a pin, nil if its frozen copy cannot be read.
func (s *Server) pinCard(ctx context.Context, block *collab.Block) (*card, error) {
	if c := s.cards.find(block.Evidence.SHA256); c != nil {
		return c, nil
	}
	e, err := s.Collab.EvidenceByBlock(ctx, block.InvestigationID, block.ID)
	if errors.Is(err, collab.ErrNotFound) {
		return nil, nil // deleted this moment
	}
	if err != nil {
		return nil, err
	}
	c, err := drawCard(block.Kind, e.Body)
	if err != nil {
		s.Log.WarnContext(ctx, "frozen copy cannot be drawn", "block", block.ID, "error", err)
		return nil, nil
	}
	s.cards.put(block.Evidence.SHA256, c)
	return c, nil
}

// cardBody is the view of a picture; sides name those of a comparison.
func cardBody(c *card, sides []collab.Side) views.CardBody {
	if c == nil {
		return views.CardBody{Broken: true}
	}
	v := views.CardBody{Span: c.span, Trace: c.trace, Thread: c.thread, Query: c.query}
	for i, half := range c.sides {
		side := views.SideCard{Card: cardBody(half, nil)}
		if i < len(sides) {
			side.Kind, side.Title, side.Href = string(sides[i].Kind), sides[i].Title, sides[i].Locator
		}
		v.Sides = append(v.Sides, side)
	}
	return v
}

// showBlock answers GET /i/:id/blocks/:block with the block alone.
func (s *Server) showBlock(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	for i := range b.Blocks {
		if b.Blocks[i].ID != blockParam(c) {
			continue
		}
		v, err := b.block(c.Request().Context(), i)
		if err != nil {
			return err
		}
		return render(c, http.StatusOK, views.BoardBlockFragment(v))
	}
	return collab.ErrNotFound
}

// maxShownBlocks is how many blocks one request asks for: with their ids a tenth of
// the longest address.
const maxShownBlocks = 100

// showBlocks answers GET /i/:id/blocks?id=…&id=… with these blocks alone, as far as
// they are there: those of a burst of changes come in one.
func (s *Server) showBlocks(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	asked := c.QueryParams()["id"]
	if len(asked) == 0 || len(asked) > maxShownBlocks {
		return &collab.InvalidError{Field: "id", Message: "Name one block at least, and " + strconv.Itoa(maxShownBlocks) + " at most."}
	}
	var list []views.BoardBlock
	for i := range b.Blocks {
		if !slices.Contains(asked, string(b.Blocks[i].ID)) {
			continue
		}
		v, err := b.block(c.Request().Context(), i)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	return render(c, http.StatusOK, views.BoardBlockFragments(list))
}
