package views

import (
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
)

var boardNow = time.Date(2026, 11, 22, 14, 9, 0, 0, time.UTC)

func boardAt(minute int) time.Time { return time.Date(2026, 11, 22, 14, minute, 0, 0, time.UTC) }

// boardBlocks is one block of each kind.
func boardBlocks(write bool) []BoardBlock {
	up, down := "", "b_3"
	block := func(id, kind, title string) BoardBlock {
		return BoardBlock{InvestigationID: "i_1", ID: id, Kind: kind, Position: "V", Title: title, By: "Robin Keller", At: boardAt(2), Now: boardNow, Seen: 12,
			CanWrite: write, AnnotateRef: "ref-" + id}
	}
	pin := func(id, kind, title, state string) BoardBlock {
		b := block(id, kind, title)
		b.Href = "/t/0af7651916cd43dd8448eb211c80319c"
		b.Frozen = &FrozenMark{At: boardAt(3), By: "Robin Keller", SHA256: strings.Repeat("9c41", 16), Bytes: 4096, Href: "/api/v1/investigations/i_1/pins/" + id,
			Live: LiveMark{ID: id, State: state, Href: "/i/i_1/blocks/" + id + "/compare"}}
		return b
	}
	h := block("b_1", "hypothesis", "Build 7f3c1e9d loads a dealer's whole stock for every quote")
	h.State, h.Text, h.HTML, h.Up, h.Down = "supported", "since *13:51*", "<p>since <em>13:51</em></p>", &up, &down
	h.For = []BlockRef{{"b_2", "GET /dealers/:id/stock"}, {"b_5", "P99 by dealer"}}
	out := block("b_1b", "hypothesis", "Postgres is out of connections")
	out.State, out.Against = "refuted", []BlockRef{{"b_5", "P99 by dealer"}}
	span := pin("b_2", "span", "GET /dealers/:id/stock", "same")
	span.Hypotheses = []HypothesisChoice{{"b_1", "Build 7f3c1e9d", "for"}, {"b_1b", "Postgres", ""}}
	span.Card.Span = &SpanCard{Service: "dealers-api", Name: "GET /dealers/:id/stock", DurationNano: 611e6, Start: boardAt(1), Error: "too slow", Path: []string{"POST /quotes", "GET /quotes"},
		Attributes: []CardAttribute{{"db.rows", "18204"}}, More: 4, Share: 33, TraceText: "trace of 1.84 s"}
	span.Annotations = []BoardAnnotation{{ID: "a_1", ByID: "u_1", By: "Mara Tan", HTML: "<p>The stock query lost its <code>LIMIT</code>.</p>", Text: "x", At: boardAt(7), Now: boardNow, Where: "seen in its trace too", Mine: write, CanWrite: write, Seen: 12, Back: "/i/i_1#a_1", Versions: 2, EditedBy: "Jo", ReplyRef: "ref-reply",
		Reactions: []ReactionView{{"agree", []string{"Mara Tan", "Jo"}, true}, {"thanks", nil, false}},
		Replies:   []BoardAnnotation{{ID: "a_2", ByID: "u_2", By: hostileText, HTML: "<p>Which build?</p>", Text: "Which build?", At: boardAt(8), Now: boardNow, CanWrite: write, Reply: true, Versions: 1}}},
		{ID: "a_3", ByID: "u_2", By: "Jo", HTML: "<p>Pool?</p>", Text: hostileText, At: boardAt(7), Now: boardNow, CanWrite: write, Versions: 1, Resolved: boardAt(9), ResolvedBy: "Mara Tan"},
		{ID: "a_4", Gone: true, Replies: []BoardAnnotation{{ID: "a_5", ByID: "u_2", By: "Jo", HTML: "<p>Yes</p>", Text: "Yes", At: boardAt(8), Now: boardNow, Reply: true, Versions: 1, Moment: boardAt(1)}}}}
	trace := pin("b_3", "trace", "QuotesController#create", "changed")
	trace.Frozen.Live.What = "span late and 2 other changes"
	trace.Card.Trace = &TraceCard{Text: "trace of 4.4 s, 65 spans", Bars: []CardBar{{X: 0, W: 1000, Label: "QuotesController#create", Note: "4.4 s", Class: "Service--3", Title: "web-uk: QuotesController#create, 4.4 s"},
		{X: 10, W: 20, Also: []BarPart{{40, 20}, {70, 20}}, Depth: 1, Label: "SELECT quotes", Note: "×3 · 310 ms", Class: "Service--4", Error: true, Title: "SELECT"}}}
	thread := pin("b_4", "thread", "POST /quotes", "gone")
	thread.Card.Thread = &ThreadCard{Text: "33 traces · 24 jobs", More: 3, Bars: []CardBar{{W: 300, Label: "POST /quotes", Note: "1.8 s", Class: "Service--1"}, {X: 400, W: 100, Times: 24, Label: "RecalculateQuotes", Note: "×24", Class: "Service--2"}},
		Edges: []CardEdge{{D: "M300 17 C300 25 360 33 400 33"}, {D: "M1 1 C1 1 1 1 1 1", Inferred: true}}}
	query := pin("b_5", "query", "P99(duration_ms) by dealer.id", "")
	query.Card.Query = &QueryCard{Columns: []QueryColumn{{"dealer.id", false}, {"P99(duration_ms)", true}}, Rows: [][]string{{"D-4471", "1,310"}}, More: 12, Text: "300 rows matched"}
	both := pin("b_6", "comparison", "Before and after", "same")
	both.Href = ""
	both.Card.Sides = []SideCard{{"span", "before", "/t/1", CardBody{Span: span.Card.Span}}, {"query", "after", "/explore?q=1", CardBody{Query: query.Card.Query}}}
	broken := pin("b_7", "trace", "A copy of another version", "")
	broken.Card.Broken = true
	note := block("b_8", "note", "")
	note.Text, note.HTML = "Rolling **back**", "<p>Rolling <strong>back</strong></p>"
	link := block("b_9", "link", "Status page")
	link.URL = "https://status.example/?a=1&b=2"
	picture := block("b_10", "picture", "The dashboard at 14:02")
	picture.Picture = &PictureView{Src: "/i/i_1/blocks/b_10/picture", Width: 640, Height: 300}
	task := block("b_11", "task", "Drain the queue")
	task.People, task.Assignee, task.AssigneeName = []Option{{"", "nobody"}, {"u_2", "Jo <b>"}}, "u_2", "Jo <b>"
	task.Due = boardNow.Add(-time.Hour)
	done := block("b_12", "task", "Roll back")
	done.Done, done.Due = true, boardNow.Add(-time.Hour)
	return []BoardBlock{h, out, span, trace, thread, query, both, broken, note, link, picture, task, done}
}

// boardHead is a head with everything in it.
func boardHead(write bool) BoardHead {
	return BoardHead{ID: "i_1", Title: "Slow quotes", Status: "open", Severity: "sev2", Lead: "u_1", LeadName: "Mara Tan", LeadSince: boardAt(0), OpenedBy: "Mara Tan", Created: boardAt(0), Seen: 12, Now: boardNow,
		CanWrite: write, CanDelete: write, CanMute: true, Muted: write, Drill: true, Statuses: []Option{{"open", "open"}, {"resolved", "resolved"}}, Severities: []Option{{"sev2", "sev2"}}, Leads: []Option{{"", "nobody"}, {"u_1", "Mara Tan"}},
		History:    []StatusEntry{{"open", "Mara Tan", boardAt(4)}, {"mitigated", "Robin <b>", boardAt(2)}},
		Visibility: "team", Visibilities: []Option{{"workspace", "whoever is signed in"}, {"team", "members of its teams"}},
		People: []RolePerson{{"u_2", "Robin Keller", "scribe", boardAt(3), true}, {"u_3", "Jo <b>", "", boardAt(3), false}}, Teams: []TeamChip{{"m_1", "Dealers", "dealers"}},
		OtherTeams: []Option{{"m_2", "Web"}}, OtherPeople: []Option{{"u_4", "Kim"}}, AskRef: "ask", MergeRef: "merge",
		Owners:     []OwnerChoice{{TeamID: "m_2", Name: "Web", Services: []string{"web-de", "web-es", "web-uk"}}, {UserID: "u_4", Name: "Kim", Services: []string{"pg"}}},
		NextUpdate: boardAt(18), ImpactStart: boardAt(1), SuggestStart: boardAt(1), SuggestEnd: boardAt(6),
		Services: []ServiceChip{{"dealers-api", true}, {"pg/main", false}, {"quotes-api", true}, {"web-uk", true}},
		Merges:   []MergeChoice{{ID: "i_2", Title: "Stuck <jobs>", Ref: "ref-merge"}, {ID: "i_3", Title: "Of few", Few: true}}, MergeTargets: []Option{{"i_2", "Stuck <jobs>"}}}
}

// investigationList is a list with rows of every sort.
func investigationList(rows bool) InvestigationList {
	v := InvestigationList{Page: Page{Title: "Investigations", Me: &Me{ID: "u_1", Name: "Mara Tan", Role: "member", CanWrite: true}, Now: boardNow, Path: "/investigations"},
		Filters: []Filter{{"Open", "/investigations?show=live", true}, {"Mine", "/investigations?show=mine", false}}, Show: "live",
		Severities: []Option{{"", "any"}, {"sev1", "sev1"}}, Kinds: []Option{{"", "any"}, {"drill", "drill"}}, Teams: []Option{{"", "any"}, {"m_1", "Dealers"}}}
	if rows {
		v.Text, v.Severity, v.Narrowed, v.More = "quotes", "sev1", true, "/investigations?after=i_1"
		v.Rows = []InvestigationRow{
			{Href: "/i/i_1", Title: "Slow quotes", Status: "open", Severity: "sev1", LeadName: "Mara Tan", Blocks: 12, Created: boardAt(0), Updated: boardAt(8), Visibility: "workspace",
				Services: "dealers-api · quotes-api · web-uk and 2 others", Overdue: true, Here: []PersonHere{{"u_1", "Mara Tan", "on this board", true}}},
			{Href: "/i/i_2", Title: hostileText, Status: "mitigated", Severity: "unknown", Created: boardAt(0), Updated: boardAt(8), Visibility: "private", Drill: true},
		}
	}
	return v
}

func TestTeamsGolden(t *testing.T) {
	page := func(admin bool) Settings {
		return Settings{Page: Page{Title: "Teams", Me: &Me{ID: "u_1", Name: "Mara Tan", Role: "admin", Admin: admin, CanWrite: true}, Now: boardNow, Path: "/settings/teams"}, Tab: TabTeams, Title: "Teams"}
	}
	list := []TeamRow{{ID: "m_1", Name: "Dealers <b>", NewName: "Dealers <b>", Handle: "dealers-b", Services: "dealers-api\nstock-*", Members: []TeamPerson{{"u_2", "Robin Keller", boardAt(0)}}, Others: []Option{{"u_3", "Jo"}}},
		{ID: "m_2", Name: "Web", NewName: "!!", Handle: "web", Open: true, Errors: FieldErrors{"name": "Use letters or digits."}}}
	checkGolden(t, "teams", map[string]templ.Component{
		"admin":  TeamsPage(Teams{Settings: page(true), List: list, Name: "dealers", Errors: FieldErrors{"name": "There is a team @dealers already.", "services": "A pattern needs a letter."}}),
		"member": TeamsPage(Teams{Settings: page(false), List: list}),
		"empty":  TeamsPage(Teams{Settings: page(false)}),
	})
}

// TestHeadSaysWhatIsDue holds the words of the head, which scripts repeat.
func TestHeadSaysWhatIsDue(t *testing.T) {
	h := BoardHead{Status: "open", Now: boardNow}
	for want, due := range map[string]time.Time{"no update due": {}, "next update in 9 min": boardNow.Add(9 * time.Minute), "next update just now": boardNow.Add(10 * time.Second), "update overdue 3 min": boardNow.Add(-3 * time.Minute)} {
		if h.NextUpdate = due; h.dueLabel() != want {
			t.Errorf("due %v: %q, want %q", due, h.dueLabel(), want)
		}
	}
	if h.Status = "resolved"; h.overdue() || h.dueLabel() != "no update due" {
		t.Errorf("what is resolved: %q", h.dueLabel())
	}
}

func boardPage(write bool, blocks []BoardBlock) Board {
	me := &Me{ID: "u_1", Name: "Mara Tan", Role: "member", CanWrite: write}
	return Board{Page: Page{Title: "Slow quotes", Me: me, Now: boardNow, Path: "/i/i_1"}, Epoch: "e1", Offset: 12, Block: blocks, Hypotheses: len(blocks) > 0,
		Head:  boardHead(write),
		Notes: BoardNotes{InvestigationID: "i_1", Ref: "ref-notes", CanWrite: write}, Here: []PersonHere{{"u_1", "Mara Tan", "on this board", true}},
		Timeline: Timeline{ID: "i_1", Offset: 12, Last: 12, Ref: "ref-entry", CanWrite: write, Hidden: 1, More: 20, Now: boardNow, Entries: []TimelineEntry{
			{ID: "k_1", At: boardAt(1), Recorded: boardAt(2), What: "deploy quotes-api", Detail: "7f3c1e9d", Href: "https://ci.example/1", Tone: "deploy"},
			{ID: "c_2", Offset: 2, At: boardAt(6), Who: "Robin Keller", What: "pinned the thread POST /quotes", Detail: "one request", Href: "#b_4", Tone: "thread", Pinned: true, EditHref: "/i/i_1/timeline/c_2", ThenHref: "/i/i_1?at=2"},
			{ID: "e_3", At: boardAt(8), What: hostileText, Hidden: true, Edited: true, EditHref: "/i/i_1/timeline/e_3"}}},
		Compose: Composer{InvestigationID: "i_1", Ref: "ref-note", Refs: map[string]string{"task": "ref-task"}, Pins: []Option{{"b_2", "span: GET"}, {"b_3", "trace: Q"}}, People: []Option{{"", "nobody"}}, CanWrite: write}}
}

func TestBoardGolden(t *testing.T) {
	hostile := boardBlocks(true)
	for i := range hostile {
		hostile[i].Title, hostile[i].Text, hostile[i].By = hostileText, hostileText, hostileText
	}
	blocks := boardBlocks(true)
	lanes := boardPage(true, nil)
	lanes.ByLanes, lanes.Hypotheses = true, true
	lanes.Lanes = []Lane{{Head: &blocks[0], For: blocks[2:3]}, {Head: &blocks[1], Against: blocks[5:6]}, {Rest: blocks[8:9]}}
	then := boardPage(false, boardBlocks(false))
	then.Replay = &Replay{ID: "i_1", At: 5, Last: 12, Time: boardAt(3), What: "Robin Keller pinned the span " + hostileText, Erased: 2, Settings: []Option{{Label: "timeline", Value: "all"}}}
	then.Timeline.At, then.Timeline.All, then.Timeline.Recorded = 5, true, true
	byHand := TimelineEdit{Page: boardPage(true, nil).Page, ID: "i_1", Entry: TimelineEntry{ID: "e_3"}, Text: hostileText, Happened: boardAt(8), Seen: 12, Ref: "r", Mine: true}
	ofLog := TimelineEdit{ID: "i_1", Entry: TimelineEntry{ID: "c_2", Pinned: true}, Says: "Robin pinned the span", Happened: boardAt(8), Seen: 12, Ref: "r"}
	many := boardPage(true, append(boardBlocks(true), boardBlocks(true)...))
	checkGolden(t, "board", map[string]templ.Component{
		"empty":    BoardPage(boardPage(true, nil)),
		"list":     InvestigationsPage(investigationList(true)),
		"none":     InvestigationsPage(investigationList(false)),
		"member":   BoardPage(boardPage(true, boardBlocks(true))),
		"viewer":   BoardPage(boardPage(false, boardBlocks(false))),
		"hostile":  BoardPage(boardPage(true, hostile)),
		"lanes":    BoardPage(lanes),
		"then":     BoardPage(then),
		"entry":    TimelineEditPage(byHand),
		"of-log":   TimelineEditFragment(ofLog),
		"history":  HistoryPage(History{Page: boardPage(true, nil).Page, Back: "/i/i_1#a_1", Versions: []TextVersion{{2, "Robin", boardAt(3), "<p>Two</p>"}, {1, hostileText, boardAt(2), "<p>One</p>"}}}),
		"new":      NewInvestigationPage(InvestigationForm{Page: boardPage(true, nil).Page, Ref: "r", Severity: "unknown", Problem: "Give it a title.", Kind: "real", Visibility: "team", Teams: []Option{{"m_1", "Dealers"}}, Chosen: map[string]bool{"m_1": true}, Templates: []TemplateChoice{{"", "Empty board", "Nothing on it."}, {"slow", "Something is slow", "Usual causes."}}}),
		"compare":  ComparePage(Compare{Page: boardPage(true, nil).Page, Board: "i_1", Title: "QuotesController#create", State: "changed", Back: "/i/i_1#b_3", Href: "/t/1", FrozenAt: boardAt(3), FrozenBy: "Robin", FrozenSHA256: "9c", LiveSHA256: "e2", Frozen: blocks[3].Card, Live: blocks[3].Card, Changes: []ValueChange{{"span late", "", "web-uk: late, 2 s"}, {"spans", "3", hostileText}}, MoreChanges: 2}),
		"gone":     ComparePage(Compare{Page: boardPage(true, nil).Page, Board: "i_1", Title: "x", State: "gone", Back: "/i/i_1", FrozenAt: boardAt(3), FrozenBy: "Robin", FrozenSHA256: "9c", Frozen: blocks[2].Card}),
		"conflict": ConflictPage(Conflict{Page: boardPage(true, nil).Page, Action: "/i/i_1/blocks/b_8", Field: "text", Label: "text", Yours: hostileText, Theirs: "theirs", By: hostileText, At: boardAt(3), Seen: 13, Ref: "r", Back: "/i/i_1#b_8", Long: true}),
		"again": AgainPage(Again{Page: boardPage(true, nil).Page, Message: "Give it a title.", Action: "/i/i_1/blocks", Back: "/i/i_1", BackLabel: "Back to the board", Keep: []Option{{"task", "kind"}}, Fields: []AgainField{
			{Name: "title", Label: "Title", Wrong: true}, {Name: "text", Label: "Text", Long: true, Value: hostileText},
			{Name: "assignee", Label: "Given to", Value: "u_1", Options: []Option{{"", "nobody"}, {"u_1", hostileText}}}, {Name: "due", Label: "Due (UTC, optional)", Value: "tomorrow"}}}),
		"offer":   OfferFragment(OfferView{InvestigationID: "i_1", Text: "x", Offers: []Offer{{Ref: "r", Kind: "trace", TraceID: "0af7", Title: hostileText}, {Ref: "s", Kind: "link", URL: "https://x.example/?a&b", Title: "https://x.example/?a&b"}}}),
		"unknown": OfferPage(OfferView{Page: boardPage(true, nil).Page, InvestigationID: "i_1", Text: "x"}),
	})
	if got := strings.Count(renderPage(t, BoardPage(many)), `class="Board-break"`); got != 2 {
		t.Errorf("26 blocks have %d breaks, want 2", got)
	}
}
