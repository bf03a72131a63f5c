package live

import (
	"encoding/json"
	"math"
	"unicode/utf8"

	"redthread/collab"
)

// Subprotocol is the name and version of what is spoken on the socket.
const Subprotocol = "investigation.v1"

// Types of message that the server sends beside the changes of the log. They
// have no offset. static/js/live_messages.js has the same list; a test compares.
const (
	TypeHello    = "hello"            // the first: where the log ends
	TypeReload   = "reload"           // it cannot be resumed; the socket closes
	TypePresence = "presence.changed" // who is here now
	TypeSelf     = "presence.self"    // what one chose, and who follows one
	TypeCursor   = "cursor.moved"     // where somebody points or types
	TypeAck      = "ack"              // a request was done
	TypeError    = "error"            // a request was not done

	TypeFollowView  = "follow.moved" // what the one whom one follows sees now
	TypeFollowEnded = "follow.ended" // one follows them no more
	TypeFollowAsked = "follow.asked" // somebody asks to be followed

	TypeInbox       = "inbox.changed"       // one's inbox may hold something else
	TypeAnnotations = "annotations.changed" // so may the annotations on the trace
)

// Types of message that a client sends. Those of presence, cursors and following
// are not answered; each of the others is, by an ack or an error with its ref. A
// picture is added over HTTP: it is too large for a message.
const (
	TypePresenceSet    = "presence.set"    // what the page shows: a View
	TypePresencePrefer = "presence.prefer" // to hide, to let nobody follow: Preferences
	TypeCursorSet      = "cursor.set"      // {"cursor": a Cursor or null}
	TypeFollowStart    = "follow.start"    // {"person", "again"}
	TypeFollowStop     = "follow.stop"     // {}
	TypeFollowAsk      = "follow.ask"      // {"person"}: please follow me
	TypeFollowLetGo    = "follow.let_go"   // {"person"}: do not follow me

	TypeInvestigationUpdate = "investigation.update"
	TypePinAdd              = "pin.add"
	TypePinUpdate           = "pin.update"
	TypePinDelete           = "pin.delete"
	TypeNoteAdd             = "note.add"
	TypeNoteUpdate          = "note.update"
	TypeNoteDelete          = "note.delete"
	TypeLinkAdd             = "link.add"
	TypeLinkUpdate          = "link.update"
	TypeLinkDelete          = "link.delete"
	TypePictureUpdate       = "picture.update"
	TypePictureDelete       = "picture.delete"
	TypeTaskAdd             = "task.add"
	TypeTaskUpdate          = "task.update"
	TypeTaskDelete          = "task.delete"
	TypeHypothesisAdd       = "hypothesis.add"
	TypeHypothesisUpdate    = "hypothesis.update"
	TypeHypothesisDelete    = "hypothesis.delete"
	TypeAnnotationAdd       = "annotation.add"
	TypeAnnotationUpdate    = "annotation.update"
	TypeAnnotationDelete    = "annotation.delete"
)

// ServerTypes lists every type that a client may receive.
var ServerTypes = []string{
	TypeHello, TypeReload, TypePresence, TypeSelf, TypeCursor, TypeAck, TypeError, TypeFollowView, TypeFollowEnded, TypeFollowAsked, TypeInbox, TypeAnnotations,
	string(collab.InvestigationCreated), string(collab.InvestigationUpdated), string(collab.InvestigationDeleted), string(collab.InvestigationMerged),
	string(collab.PinAdded), string(collab.PinUpdated), string(collab.PinDeleted),
	string(collab.NoteAdded), string(collab.NoteUpdated), string(collab.NoteDeleted),
	string(collab.LinkAdded), string(collab.LinkUpdated), string(collab.LinkDeleted),
	string(collab.PictureAdded), string(collab.PictureUpdated), string(collab.PictureDeleted),
	string(collab.TaskAdded), string(collab.TaskUpdated), string(collab.TaskDeleted),
	string(collab.HypothesisAdded), string(collab.HypothesisUpdated), string(collab.HypothesisDeleted),
	string(collab.AnnotationAdded), string(collab.AnnotationUpdated), string(collab.AnnotationDeleted),
	string(collab.AnnotationReacted), string(collab.AnnotationResolved), string(collab.AnnotationReopened),
	string(collab.EntryAdded), string(collab.EntryUpdated), string(collab.EntryDeleted),
}

// ClientTypes lists every type that a client may send.
var ClientTypes = []string{
	TypePresenceSet, TypePresencePrefer, TypeCursorSet, TypeFollowStart, TypeFollowStop, TypeFollowAsk, TypeFollowLetGo, TypeInvestigationUpdate,
	TypePinAdd, TypePinUpdate, TypePinDelete, TypeNoteAdd, TypeNoteUpdate, TypeNoteDelete,
	TypeLinkAdd, TypeLinkUpdate, TypeLinkDelete, TypePictureUpdate, TypePictureDelete,
	TypeTaskAdd, TypeTaskUpdate, TypeTaskDelete, TypeHypothesisAdd, TypeHypothesisUpdate, TypeHypothesisDelete, TypeAnnotationAdd, TypeAnnotationUpdate, TypeAnnotationDelete,
}

// Close codes: 4000 to 4499 mean come back, 4500 to 4999 stay away.
const (
	CloseReload    = 4001 // load the state anew
	CloseSlow      = 4002 // it did not keep up
	CloseShutdown  = 4003
	CloseSignedOut = 4500
	CloseForbidden = 4501
	CloseGone      = 4502 // the investigation was deleted
	CloseProtocol  = 4503 // it sent what makes no sense
	CloseCrowded   = 4504 // the person has too many open already
)

// Hello is the first message.
type Hello struct {
	Type   string `json:"type"`
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
}

// Reload says that the log cannot be resumed from where the client is.
type Reload struct {
	Type string `json:"type"`
}

// Presence tells who is here: the whole list each time, so one may be dropped
// for the next.
type Presence struct {
	Type   string   `json:"type"`
	People []Person `json:"people"`
	More   int      `json:"more"` // people beside those listed
}

// Person is somebody with at least one page open.
type Person struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Pages   []string `json:"pages"`   // addresses of what their windows show, the newest first
	Idle    bool     `json:"idle"`    // looks at none of them
	Follows string   `json:"follows"` // a person, or ""
}

// Named is a person in a message.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Preferences are what a person chose about being seen. They hold on all their
// pages.
type Preferences struct {
	Hidden bool `json:"hidden"` // is shown to nobody
	Alone  bool `json:"alone"`  // lets nobody follow
}

// Self tells a page about its own person.
type Self struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Preferences
	Followers []Named `json:"followers"`
}

// Cursor is where somebody points or types, in terms of what is shown and not of
// the screen: a row of a trace and perhaps a field of its span, or a block of a
// board and a place in its text. Empty parts say less.
type Cursor struct {
	Trace  string `json:"trace"`
	Span   string `json:"span"`
	Block  string `json:"block"`
	Field  string `json:"field"`  // an attribute's key; of a block or a page: title, text, annotation, note
	Offset int    `json:"offset"` // in the text of the field, in UTF-16 units; -1: none
	Typing bool   `json:"typing"`
}

const maxCursorPart = 200 // bytes

// clean returns the cursor with what it may hold, nil for none.
func (c *Cursor) clean() *Cursor {
	if c == nil {
		return nil
	}
	out := *c
	for _, part := range []*string{&out.Trace, &out.Span, &out.Block, &out.Field} {
		if len(*part) > maxCursorPart || !utf8.ValidString(*part) {
			*part = ""
		}
	}
	out.Offset = min(max(out.Offset, -1), 1<<20)
	if out == (Cursor{Offset: out.Offset}) {
		return nil
	}
	return &out
}

// CursorMoved tells of one page's cursor.
type CursorMoved struct {
	Type   string  `json:"type"`
	From   string  `json:"from"` // the page it is on
	Person string  `json:"person"`
	Name   string  `json:"name"`
	Cursor *Cursor `json:"cursor"` // null: gone
}

// Scroll is how far a page is scrolled: an element of it, and how far below the
// upper edge of the window it begins, so that it fits windows of other sizes.
type Scroll struct {
	ID  string  `json:"id"`  // "": the page itself
	Top float64 `json:"top"` // px
}

func (s Scroll) clean() Scroll {
	if len(s.ID) > maxCursorPart || !utf8.ValidString(s.ID) || math.IsNaN(s.Top) || math.IsInf(s.Top, 0) {
		return Scroll{}
	}
	return s
}

// FollowView tells a follower what the other one sees.
type FollowView struct {
	Type   string `json:"type"`
	Person string `json:"person"`
	Name   string `json:"name"`
	Path   string `json:"path"` // "": they are nowhere that the follower may see
	Scroll Scroll `json:"scroll"`
}

// FollowEnded tells a follower that it is over, or did not begin.
type FollowEnded struct {
	Type   string `json:"type"`
	Person string `json:"person"`
	Name   string `json:"name"`
	Reason string `json:"reason"` // refused, gone, loop, let_go
}

// FollowAsked tells that somebody asks to be followed.
type FollowAsked struct {
	Type   string `json:"type"`
	Person string `json:"person"`
	Name   string `json:"name"`
}

// Ack says that a request was done, with the offset of its change.
type Ack struct {
	Type   string `json:"type"`
	Ref    string `json:"ref"`
	Offset int64  `json:"offset"`
}

// Error says that a request was not done.
type Error struct {
	Type    string `json:"type"`
	Ref     string `json:"ref"`
	Code    string `json:"code"`
	Message string `json:"message"`
	*Conflict
}

// Conflict is both versions of a field that two people changed, and where the log
// is: what the API answers with 409.
type Conflict struct {
	Field  string `json:"field"`
	Yours  any    `json:"yours"`
	Theirs any    `json:"theirs"`
	Merged string `json:"merged"` // of a text: both, to look over
	Offset int64  `json:"offset"`
	// Who set the field, and when; "" and 0 if that is not known.
	ActorName string `json:"actor_name"`
	AtNano    int64  `json:"at,string"`
}

// Request is what a client sends.
type Request struct {
	Type string          `json:"type"`
	Ref  string          `json:"ref"`
	Data json.RawMessage `json:"data"`
}

// Encode makes the bytes of a message. Nothing in a message of this package can
// fail to encode, so a failure is a bug.
func Encode(message any) []byte {
	raw, err := json.Marshal(message)
	if err != nil {
		panic("live: encode " + err.Error())
	}
	return raw
}
