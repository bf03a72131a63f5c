package collab

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHypothesisCollectsEvidence(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	other := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "n"})
	job := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTask, Title: "roll back"})
	h := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindHypothesis, Title: " The build \n is slow ", References: References{other.ID: SideAgainst}})
	if h.State != HypothesisOpen || h.Title != "The build is slow" || h.References[other.ID] != SideAgainst {
		t.Fatalf("made %+v", h)
	}
	at := h.Offset
	// Different references are different fields; the same one asks.
	if _, err := s.UpdateBlock(who.ana, inv.ID, h.ID, BlockUpdate{Seen: &at, References: References{pin.ID: SideFor}}); err != nil {
		t.Fatal(err)
	}
	got, err := s.UpdateBlock(who.bo, inv.ID, h.ID, BlockUpdate{Seen: &at, References: References{other.ID: SideFor}, State: ptr(HypothesisSupported)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(References{pin.ID: SideFor, other.ID: SideFor}, got.References); diff != "" || got.State != HypothesisSupported {
		t.Fatalf("state %s, references (-want +got):\n%s", got.State, diff)
	}
	var conflict *ConflictError
	_, err = s.UpdateBlock(who.bo, inv.ID, h.ID, BlockUpdate{Seen: &at, References: References{pin.ID: SideAgainst}})
	if !errors.As(err, &conflict) || conflict.Field != "references."+string(pin.ID) || conflict.Yours != "against" || conflict.Theirs != "for" {
		t.Fatalf("two sides for one pin: %v", err)
	}
	_, err = s.UpdateBlock(who.ana, inv.ID, h.ID, BlockUpdate{Seen: &at, State: ptr(HypothesisRefuted)})
	if !errors.As(err, &conflict) || conflict.Field != "state" {
		t.Fatalf("two states: %v", err)
	}
	for _, bad := range []References{{h.ID: SideFor}, {job.ID: SideFor}, {"b_none": SideFor}, {pin.ID: "maybe"}} {
		if _, err := s.UpdateBlock(who.ana, inv.ID, h.ID, BlockUpdate{Seen: &got.Offset, References: bad}); !errors.As(err, new(*InvalidError)) {
			t.Errorf("references %v: got %v, want an InvalidError", bad, err)
		}
	}
	// A pin that is deleted is cited no more, and the log says so.
	before, err := s.LogPosition(who.vi, inv.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlock(who.ana, inv.ID, pin.ID); err != nil {
		t.Fatal(err)
	}
	if got, err = s.BlockByID(who.vi, inv.ID, h.ID); err != nil || len(got.References) != 1 {
		t.Fatalf("after deleting the pin: %+v, %v", got.References, err)
	}
	list, _, err := s.Changes(who.vi, inv.ID, before.Offset, 0)
	if err != nil || len(list) != 2 || list[0].Type != HypothesisUpdated || list[1].Type != PinDeleted || !strings.Contains(string(list[0].Data), `"references":{"`+string(pin.ID)+`":""}`) {
		t.Fatalf("changes %+v, %v", list, err)
	}
}

func TestFieldsOfOtherKindsAreRefused(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	for field, n := range map[string]BlockNew{
		"state": {Kind: KindNote, Text: "x", State: HypothesisOpen}, "done": {Kind: KindNote, Text: "x", Done: true},
		"assignee": {Kind: KindHypothesis, Title: "x", Assignee: "u_bo"}, "picture": {Kind: KindNote, Text: "x", Picture: []byte("x")},
		"url": {Kind: KindNote, Text: "x", URL: "https://x.example"}, "sides": {Kind: KindTrace, TraceID: traceA, Sides: []Side{}},
		"references": {Kind: KindTask, Title: "x", References: References{}}, "title": {Kind: KindTask, Title: " "},
	} {
		_, _, err := s.CreateBlock(who.ana, inv.ID, n)
		wantInvalid(t, field, err, field)
	}
	_, _, err := s.CreateBlock(who.ana, inv.ID, BlockNew{Kind: KindHypothesis, Title: "x", State: "maybe"})
	wantInvalid(t, "an unknown state", err, "state")
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "x"})
	for field, u := range map[string]BlockUpdate{
		"state": {State: ptr(HypothesisOpen)}, "done": {Done: ptr(true)}, "assignee": {Assignee: text("u_bo")},
		"url": {URL: text("https://x.example")}, "references": {References: References{}},
	} {
		u.Seen = &note.Offset
		_, err := s.UpdateBlock(who.ana, inv.ID, note.ID, u)
		wantInvalid(t, field, err, field)
	}
}

func TestTask(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	b := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTask, Title: "Roll back", Assignee: "bo olsen"})
	if b.Assignee != "u_bo" || b.AssigneeName != "Bo Olsen" || b.Done {
		t.Fatalf("made %+v", b)
	}
	box, err := s.FindInbox(t.Context(), "u_bo", InboxFilter{})
	if err != nil || len(box) != 1 || box[0].Reason != ReasonTask || box[0].Text != "Roll back" {
		t.Fatalf("Bo's inbox %+v, %v", box, err)
	}
	got, err := s.UpdateBlock(who.bo, inv.ID, b.ID, BlockUpdate{Seen: &b.Offset, Done: ptr(true)})
	if err != nil || !got.Done {
		t.Fatalf("done: %+v, %v", got, err)
	}
	if _, err := s.UpdateBlock(who.ana, inv.ID, b.ID, BlockUpdate{Seen: &b.Offset, Done: ptr(true)}); err != nil {
		t.Errorf("done by both: %v", err)
	}
	if got, err = s.UpdateBlock(who.ana, inv.ID, b.ID, BlockUpdate{Seen: &b.Offset, Assignee: text("u_ana")}); err != nil || got.AssigneeName != "Ana Lima" || !got.Done {
		t.Errorf("another field: %+v, %v", got, err)
	}
	if _, err := s.UpdateBlock(who.bo, inv.ID, b.ID, BlockUpdate{Seen: &b.Offset, Assignee: text("")}); !errors.Is(err, ErrConflict) {
		t.Errorf("given to two: %v", err)
	}
	_, err = s.UpdateBlock(who.bo, inv.ID, b.ID, BlockUpdate{Seen: &got.Offset, Assignee: text("nobody here")})
	wantInvalid(t, "an unknown person", err, "assignee")
}

func pngOf(w, h int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// webpOf is a WebP file with a chunk of that name, behind a VP8X one a picture.
func webpOf(chunk string, body []byte) []byte {
	for len(body) < 10 {
		body = append(body, 0)
	}
	b := appendChunk([]byte("RIFF\x00\x00\x00\x00WEBP"), chunk, body)
	if chunk == "VP8X" {
		b = appendChunk(b, "VP8L", []byte{0x2f, 0, 0, 0, 0})
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

func TestReadPicture(t *testing.T) {
	var jpg bytes.Buffer
	if err := jpeg.Encode(&jpg, image.NewGray(image.Rect(0, 0, 7, 5)), nil); err != nil {
		t.Fatal(err)
	}
	lossless := binary.LittleEndian.AppendUint32([]byte{0x2f}, 639|479<<14)
	for _, c := range []struct {
		name  string
		raw   []byte
		typ   string
		w, h  int
		fails bool
	}{
		{"png", pngOf(3, 2), "image/png", 3, 2, false},
		{"jpeg", jpg.Bytes(), "image/jpeg", 7, 5, false},
		{"webp lossy", webpOf("VP8 ", []byte{0, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0xe0, 1}), "image/webp", 640, 480, false},
		{"webp lossless", webpOf("VP8L", lossless), "image/webp", 640, 480, false},
		{"webp extended", webpOf("VP8X", []byte{0, 0, 0, 0, 0x7f, 2, 0, 0xdf, 1, 0}), "image/webp", 640, 480, false},
		{"webp without a start code", webpOf("VP8 ", make([]byte, 10)), "", 0, 0, true},
		{"nothing", nil, "", 0, 0, true},
		{"svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`), "", 0, 0, true},
		{"jpeg, cut short", jpg.Bytes()[:jpg.Len()-9], "", 0, 0, true},
		{"png, cut short", pngOf(3, 2)[:50], "", 0, 0, true},
		{"webp, cut short", webpOf("VP8X", []byte{0, 0, 0, 0, 0x7f, 2, 0, 0xdf, 1, 0})[:40], "", 0, 0, true},
		{"gif", []byte("GIF89a\x01\x00\x01\x00"), "", 0, 0, true},
		{"html behind a png's first bytes", []byte("\x89PNG\r\n\x1a\n<script>alert(1)</script>"), "", 0, 0, true},
		{"too many bytes", append(pngOf(1, 1), make([]byte, MaxPictureBytes)...), "", 0, 0, true},
		{"too wide", pngOf(maxPictureSide+1, 1), "", 0, 0, true},
	} {
		p, kept, err := readPicture(c.raw)
		if c.fails {
			wantInvalid(t, c.name, err, "picture")
			continue
		}
		if err != nil || p.Type != c.typ || p.Width != c.w || p.Height != c.h || p.SHA256 != hashHex(c.raw) || !bytes.Equal(kept, c.raw) {
			t.Errorf("%s: got %+v, %v", c.name, p, err)
		}
	}
}

func TestPictureBlock(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	raw := pngOf(3, 2)
	n := BlockNew{Ref: "p", Kind: KindPicture, Title: "The dashboard", Picture: raw}
	b := mustBlock(t, s, who.ana, inv.ID, n)
	if b.Picture == nil || b.Picture.Width != 3 || b.Picture.SizeBytes != len(raw) {
		t.Fatalf("made %+v", b.Picture)
	}
	if again, created, err := s.CreateBlock(who.ana, inv.ID, n); err != nil || created || again.ID != b.ID {
		t.Fatalf("the same ref: %+v, %v, %v", again, created, err)
	}
	p, err := s.PictureByBlock(who.vi, inv.ID, b.ID)
	if err != nil || !bytes.Equal(p.Body, raw) || p.PictureInfo != *b.Picture {
		t.Fatalf("read back %+v, %v", p, err)
	}
	if list, _, err := s.Changes(who.vi, inv.ID, 1, 0); err != nil || len(list[0].Data) > 2_000 {
		t.Errorf("the log carries %d bytes of the picture, %v", len(list[0].Data), err)
	}
	if err := s.CheckEvidence(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.write.Exec(`UPDATE pictures SET body = x'00'`); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckEvidence(t.Context()); err == nil || !strings.Contains(err.Error(), string(b.ID)) {
		t.Errorf("a picture that was tampered with: %v", err)
	}
	if err := s.DeleteBlock(who.bo, inv.ID, b.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PictureByBlock(who.vi, inv.ID, b.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted picture: %v", err)
	}
	var rows int
	if err := s.read.QueryRow(`SELECT COUNT(*) FROM pictures`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d pictures kept, %v", rows, err)
	}
}

func TestComparisonCopiesPins(t *testing.T) {
	s, who, src := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTrace, TraceID: traceA, Title: "slow"})
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "n"})
	query := json.RawMessage(`{"calculations": []}`)
	n := BlockNew{Ref: "c", Kind: KindComparison, Sides: []Side{{PinID: pin.ID}, {Kind: KindQuery, Query: query}}}
	frozen := src.frozen
	b := mustBlock(t, s, who.ana, inv.ID, n)
	if src.frozen != frozen+1 {
		t.Errorf("%d reads, want one: the pin has its copy already", src.frozen-frozen)
	}
	if b.Title != "slow and GET /quotes" || len(b.Sides) != 2 || b.Sides[0].TraceID != traceA || b.Sides[0].SHA256 != pin.Evidence.SHA256 || string(b.Sides[1].Query) != `{"calculations":[]}` {
		t.Fatalf("made %+v", b)
	}
	if again, created, err := s.CreateBlock(who.ana, inv.ID, n); err != nil || created || again.ID != b.ID {
		t.Fatalf("the same ref: %v, %v", created, err)
	}
	e, err := s.EvidenceByBlock(who.vi, inv.ID, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	var body comparisonBody
	if err := json.Unmarshal(e.Body, &body); err != nil || len(body.Sides) != 2 || hashHex(body.Sides[0]) != pin.Evidence.SHA256 {
		t.Fatalf("evidence %s, %v", e.Body, err)
	}
	if cmp, err := s.ComparePin(who.vi, inv.ID, b.ID); err != nil || cmp.State != LiveSame {
		t.Errorf("compared at once: %+v, %v", cmp, err)
	}
	if err := s.DeleteBlock(who.ana, inv.ID, pin.ID); err != nil {
		t.Fatal(err)
	}
	src.body = `{"other":1}`
	if cmp, err := s.ComparePin(who.vi, inv.ID, b.ID); err != nil || cmp.State != LiveChanged {
		t.Errorf("compared when both changed and the pin is deleted: %+v, %v", cmp, err)
	}
	for _, sides := range [][]Side{nil, {{PinID: pin.ID}}, {{PinID: note.ID}, {PinID: b.ID}}, {{PinID: b.ID}, {PinID: b.ID}},
		{{Kind: KindNote}, {Kind: KindTrace, TraceID: traceA}}, {{Kind: KindComparison}, {Kind: KindTrace, TraceID: traceA}}} {
		_, _, err := s.CreateBlock(who.ana, inv.ID, BlockNew{Kind: KindComparison, Sides: sides})
		wantInvalid(t, fmt.Sprintf("sides %+v", sides), err, "sides")
	}
}

func TestTemplates(t *testing.T) {
	s, who, _ := openBoards(t)
	for _, tpl := range Templates {
		inv, _, err := s.CreateInvestigation(who.ana, InvestigationNew{Ref: "r" + tpl.ID, Title: "x", Template: tpl.ID, Pin: &BlockNew{Kind: KindTrace, TraceID: traceA}})
		if err != nil {
			t.Fatalf("template %q: %v", tpl.ID, err)
		}
		if want := 1 + len(tpl.Blocks); inv.Blocks != want || inv.Offset != int64(1+want) {
			t.Errorf("template %q: %d blocks at offset %d, want %d at %d", tpl.ID, inv.Blocks, inv.Offset, want, 1+want)
		}
		board, err := s.Board(who.vi, inv.ID)
		if err != nil || board.Blocks[0].Kind != KindTrace {
			t.Fatalf("template %q: board %+v, %v", tpl.ID, board, err)
		}
		for i, b := range tpl.Blocks {
			if got := board.Blocks[i+1]; got.Kind != b.Kind || got.Title != b.Title {
				t.Errorf("template %q, block %d: got %s %q", tpl.ID, i, got.Kind, got.Title)
			}
		}
	}
	_, _, err := s.CreateInvestigation(who.ana, InvestigationNew{Title: "x", Template: "none"})
	wantInvalid(t, "an unknown template", err, "template")
}

var (
	goldenID    = regexp.MustCompile(`\b[bia]_[0-9a-z]{26}\b`)
	goldenNano  = regexp.MustCompile(`"(\w*_nano|at)":"\d{19}"`)
	goldenEpoch = regexp.MustCompile(`"epoch":"[0-9a-z]+"`)
)

// TestGoldenChanges writes one change of each type of block and compares the
// frames with testdata/changes: what a client gets must not change unseen.
func TestGoldenChanges(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	var blocks []*Block
	add := func(n BlockNew) *Block {
		n.Ref = "ref " + string(n.Kind)
		b := mustBlock(t, s, who.ana, inv.ID, n)
		blocks = append(blocks, b)
		return b
	}
	pin := add(BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA, Text: "a caption"})
	query := add(BlockNew{Kind: KindQuery, Query: json.RawMessage(`{"limit":3}`)})
	add(BlockNew{Kind: KindComparison, Sides: []Side{{PinID: pin.ID}, {PinID: query.ID}}})
	add(BlockNew{Kind: KindNote, Text: "Look at <this> & that"})
	add(BlockNew{Kind: KindLink, URL: "https://status.example/", Title: "Status"})
	add(BlockNew{Kind: KindPicture, Title: "Graph", Picture: webpOf("VP8X", []byte{0, 0, 0, 0, 0x7f, 2, 0, 0xdf, 1, 0})})
	job := add(BlockNew{Kind: KindTask, Title: "Roll back", Assignee: "u_bo"})
	h := add(BlockNew{Kind: KindHypothesis, Title: "It is the build", Text: "since 13:51", References: References{pin.ID: SideFor}})
	edit := func(b *Block, u BlockUpdate) {
		t.Helper()
		p, err := s.LogPosition(who.vi, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		u.Seen = &p.Offset
		if _, err := s.UpdateBlock(who.bo, inv.ID, b.ID, u); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range blocks {
		edit(b, BlockUpdate{Title: text("Another title")})
	}
	edit(job, BlockUpdate{Done: ptr(true), Assignee: text("")})
	edit(h, BlockUpdate{State: ptr(HypothesisConfirmed), References: References{pin.ID: SideAgainst, query.ID: SideFor}, After: ptr(BlockID(""))})
	remark := mustAnnotate(t, s, who.ana, AnnotationNew{Ref: "remark", Anchor: Anchor{PinID: pin.ID}, Text: "Why?"})
	reply := mustAnnotate(t, s, who.bo, AnnotationNew{Ref: "reply", ParentID: remark.ID, Text: "See the build, @Ana Lima"})
	if _, err := s.UpdateAnnotation(who.bo, reply.ID, AnnotationUpdate{Seen: &reply.Offset, Text: text("See the build")}); err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		if _, err := s.React(who.ana, reply.ID, ReactionThanks, on); err != nil {
			t.Fatal(err)
		}
		if _, err := s.UpdateAnnotation(who.bo, remark.ID, AnnotationUpdate{Resolved: &on}); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := s.Changes(who.vi, inv.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks { // their bytes are erased: only the tombstones are looked at
		if err := s.DeleteBlock(who.ana, inv.ID, b.ID); err != nil {
			t.Fatal(err)
		}
	}
	gone, _, err := s.Changes(who.vi, inv.ID, list[len(list)-1].Offset, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	var out bytes.Buffer
	for _, c := range append(list, gone...) {
		raw, err := marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		line := goldenEpoch.ReplaceAllString(goldenNano.ReplaceAllString(string(raw), `"$1":"1700000000000000000"`), `"epoch":"e"`)
		line = goldenID.ReplaceAllStringFunc(line, func(id string) string {
			if names[id] == "" {
				names[id] = fmt.Sprint(id[:2], len(names))
			}
			return names[id]
		})
		out.WriteString(line + "\n")
	}
	path := filepath.Join("testdata", "changes.jsonl")
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); diff != "" {
		t.Errorf("changes (go test -run GoldenChanges -update rewrites them) (-want +got):\n%s", diff)
	}
}
