package live

import (
	"encoding/json"

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
	TypeAck      = "ack"              // a request was done
	TypeError    = "error"            // a request was not done
)

// Types of message that a client sends. Each but presence.set is answered by an
// ack or an error with its ref. A picture is added over HTTP: it is too large for
// a message.
const (
	TypePresenceSet         = "presence.set"
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
	TypeHello, TypeReload, TypePresence, TypeAck, TypeError,
	string(collab.InvestigationCreated), string(collab.InvestigationUpdated), string(collab.InvestigationDeleted),
	string(collab.PinAdded), string(collab.PinUpdated), string(collab.PinDeleted),
	string(collab.NoteAdded), string(collab.NoteUpdated), string(collab.NoteDeleted),
	string(collab.LinkAdded), string(collab.LinkUpdated), string(collab.LinkDeleted),
	string(collab.PictureAdded), string(collab.PictureUpdated), string(collab.PictureDeleted),
	string(collab.TaskAdded), string(collab.TaskUpdated), string(collab.TaskDeleted),
	string(collab.HypothesisAdded), string(collab.HypothesisUpdated), string(collab.HypothesisDeleted),
	string(collab.AnnotationAdded), string(collab.AnnotationUpdated), string(collab.AnnotationDeleted),
}

// ClientTypes lists every type that a client may send.
var ClientTypes = []string{
	TypePresenceSet, TypeInvestigationUpdate,
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

// Presence tells who is here. It is the whole list each time, so one may be
// dropped for the next.
type Presence struct {
	Type   string   `json:"type"`
	People []Person `json:"people"`
}

// Person is somebody with at least one socket open.
type Person struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Pages []string `json:"pages"` // where their windows are, each once
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
