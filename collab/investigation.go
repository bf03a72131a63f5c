package collab

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// InvestigationID is "i_" and a ULID: it sorts by the time of creation.
type InvestigationID string

// Status says how far an investigation is.
type Status string

// The statuses, in the order of an investigation's life.
const (
	StatusOpen      Status = "open"
	StatusMitigated Status = "mitigated"
	StatusResolved  Status = "resolved"
	StatusClosed    Status = "closed"
)

// Statuses lists them all.
var Statuses = []Status{StatusOpen, StatusMitigated, StatusResolved, StatusClosed}

// Severity says how bad it is.
type Severity string

// The severities: not known yet, then the worst first.
const (
	SeverityUnknown Severity = "unknown"
	Severity1       Severity = "sev1"
	Severity2       Severity = "sev2"
	Severity3       Severity = "sev3"
	Severity4       Severity = "sev4"
)

// Severities lists them all.
var Severities = []Severity{SeverityUnknown, Severity1, Severity2, Severity3, Severity4}

// InvestigationKind tells what happened from what was only played.
type InvestigationKind string

// The kinds of investigation.
const (
	InvestigationReal  InvestigationKind = "real"
	InvestigationDrill InvestigationKind = "drill"
)

// InvestigationKinds lists them all.
var InvestigationKinds = []InvestigationKind{InvestigationReal, InvestigationDrill}

// Investigation is the shared work on one problem. Its state is what its change
// log adds up to; Offset and Epoch are the log's position.
type Investigation struct {
	ID       InvestigationID `json:"id"`
	Title    string          `json:"title"`
	Status   Status          `json:"status"`
	Severity Severity        `json:"severity"`
	Lead     string          `json:"lead"` // a user's id, empty: nobody
	LeadName string          `json:"lead_name"`

	LeadSinceUnixNano int64             `json:"lead_since_unix_nano,string"`
	Kind              InvestigationKind `json:"kind"`
	Visibility        Visibility        `json:"visibility"`
	Teams             []AskedTeam       `json:"teams"`  // by name
	People            []AskedPerson     `json:"people"` // who was asked in, the longest first
	// NextUpdateUnixNano is when the lead has to tell the others how it goes, 0:
	// not said.
	NextUpdateUnixNano int64 `json:"next_update_unix_nano,string"`
	// The impact lasted from start to end; 0: not known, or not over.
	ImpactStartUnixNano int64             `json:"impact_start_unix_nano,string"`
	ImpactEndUnixNano   int64             `json:"impact_end_unix_nano,string"`
	Services            []AffectedService `json:"services"` // by name

	CreatedBy       string `json:"created_by"`
	CreatedByName   string `json:"created_by_name"`
	CreatedUnixNano int64  `json:"created_unix_nano,string"`
	UpdatedUnixNano int64  `json:"updated_unix_nano,string"`
	Blocks          int    `json:"blocks_total"`
	Epoch           string `json:"epoch"`
	Offset          int64  `json:"offset"`

	fieldOffsets fieldOffsets
	byHand       map[string]bool // services put there (true) or taken out (false)
	deleted      bool
}

// AskedTeam is a team that was asked into an investigation.
type AskedTeam struct {
	ID            TeamID `json:"id"`
	Name          string `json:"name"`
	Handle        string `json:"handle"`
	SinceUnixNano int64  `json:"since_unix_nano,string"`
}

// AskedPerson is somebody who was asked into an investigation, perhaps with a
// role, such as scribe. Since is that of the role.
type AskedPerson struct {
	ID            string `json:"id"` // a user's
	Name          string `json:"name"`
	Role          string `json:"role"`
	SinceUnixNano int64  `json:"since_unix_nano,string"`
}

// AffectedService is a service that an investigation is about: found in the
// evidence on its board, or put there by hand, or both.
type AffectedService struct {
	Name    string `json:"name"`
	Derived bool   `json:"derived"`
	ByHand  bool   `json:"by_hand"`
}

// InvestigationNew asks for an investigation. Empty Status, Severity, Kind and
// Visibility mean open, unknown, real and workspace. Lead nil means its creator,
// if that is a user.
type InvestigationNew struct {
	Ref      string   `json:"ref"`
	Title    string   `json:"title"`
	Status   Status   `json:"status"`
	Severity Severity `json:"severity"`
	Lead     *string  `json:"lead"`

	Kind       InvestigationKind `json:"kind"`
	Visibility Visibility        `json:"visibility"`
	Teams      TeamsNew          `json:"teams"`
	// What an update sets, too: a second change, in the same transaction.
	NextUpdateUnixNano  *int64             `json:"next_update_unix_nano,string"`
	ImpactStartUnixNano *int64             `json:"impact_start_unix_nano,string"`
	ImpactEndUnixNano   *int64             `json:"impact_end_unix_nano,string"`
	People              map[string]*string `json:"people"`
	Services            map[string]*bool   `json:"services"`
	// Pin, if set, is the first block: change 2 of the same transaction.
	Pin *BlockNew `json:"pin,omitempty"`
	// Template names one of [Templates], whose blocks are put on the board in the
	// same transaction; empty: none.
	Template string `json:"template"`
}

// TeamsNew are the teams asked into a new investigation. In JSON they are a list, or
// as in an update an object of team → true.
type TeamsNew []TeamID

// UnmarshalJSON reads either.
func (t *TeamsNew) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		var in map[TeamID]bool
		if err := json.Unmarshal(raw, &in); err != nil {
			return err
		}
		maps.DeleteFunc(in, func(_ TeamID, asked bool) bool { return !asked })
		*t = slices.Sorted(maps.Keys(in))
		return nil
	}
	return json.Unmarshal(raw, (*[]TeamID)(t))
}

// life reports whether anything is set that an update sets.
func (n *InvestigationNew) life() bool {
	return n.NextUpdateUnixNano != nil || n.ImpactStartUnixNano != nil || n.ImpactEndUnixNano != nil || len(n.People) > 0 || len(n.Services) > 0
}

func (n *InvestigationNew) update() InvestigationUpdate {
	return InvestigationUpdate{NextUpdateUnixNano: n.NextUpdateUnixNano, ImpactStartUnixNano: n.ImpactStartUnixNano, ImpactEndUnixNano: n.ImpactEndUnixNano,
		People: n.People, Services: n.Services}
}

// InvestigationUpdate changes the fields that are not nil. Seen is the offset
// that the person saw: a field changed since by somebody else is a conflict.
type InvestigationUpdate struct {
	Ref      string    `json:"ref"`
	Seen     *int64    `json:"seen"`
	Title    *string   `json:"title"`
	Status   *Status   `json:"status"`
	Severity *Severity `json:"severity"`
	Lead     *string   `json:"lead"`

	Kind       *InvestigationKind `json:"kind"`
	Visibility *Visibility        `json:"visibility"`

	NextUpdateUnixNano  *int64 `json:"next_update_unix_nano,string"`
	ImpactStartUnixNano *int64 `json:"impact_start_unix_nano,string"`
	ImpactEndUnixNano   *int64 `json:"impact_end_unix_nano,string"`

	// Of these only the entries named are changed, and each is a field of its own.
	Teams    map[TeamID]bool    `json:"teams"`    // true: asked in
	People   map[string]*string `json:"people"`   // user → role; null: not asked in any more
	Services map[string]*bool   `json:"services"` // true: put there, false: taken out, null: as the evidence says
}

// InvestigationFilter picks investigations, the newest first.
type InvestigationFilter struct {
	Statuses   []Status // empty: all
	Severities []Severity
	Kind       InvestigationKind
	TeamIDs    []TeamID // asked in, any of them
	// Text, if set, keeps those whose title, lead or one of whose services has it.
	Text string
	// UserID, if set, keeps those that the user leads, opened, changed or was asked
	// into.
	UserID string
	// After continues below the investigation with that id.
	After InvestigationID
	// Limit is 50 if zero, at most 200.
	Limit int
}

// Bounds of what people type.
const (
	maxTitleRunes      = 200
	maxTextRunes       = 20_000 // of a note; ten printed pages
	maxAnnotationRunes = 10_000
	maxURLBytes        = 2_000
	maxRefBytes        = 200
	maxQueryBytes      = 64 << 10
	maxBlocks          = 1_000   // on one board
	maxEvidenceBytes   = 8 << 20 // of one pin
	maxRoleRunes       = 60
	maxAskedPeople     = 200
	maxAskedTeams      = 50
	maxHandServices    = 200
)

func (s Status) valid() bool {
	for _, v := range Statuses {
		if s == v {
			return true
		}
	}
	return false
}

func (s Severity) valid() bool {
	for _, v := range Severities {
		if s == v {
			return true
		}
	}
	return false
}

func checkStatus(s Status) error {
	if !s.valid() {
		return &InvalidError{"status", "Status is open, mitigated, resolved or closed."}
	}
	return nil
}

func checkSeverity(s Severity) error {
	if !s.valid() {
		return &InvalidError{"severity", "Severity is unknown, sev1, sev2, sev3 or sev4."}
	}
	return nil
}

// cleanTitle trims a title to one line and checks its length. It stands in the midst
// of other text, so it may not turn that around: embeddings, overrides and isolates of
// Unicode's bidirectional algorithm (UAX #9) are taken out.
func cleanTitle(field, s string) (string, error) {
	s = strings.Map(func(r rune) rune {
		if 0x202A <= r && r <= 0x202E || 0x2066 <= r && r <= 0x2069 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(withoutControls(s)), " ")
	if !shows(s) {
		return "", &InvalidError{field, "Give it a title."}
	}
	if utf8.RuneCountInString(s) > maxTitleRunes {
		return "", &InvalidError{field, "A title has at most 200 characters."}
	}
	return s, nil
}

// cleanText normalises line ends and checks the length of a text.
func cleanText(field, s string, maxRunes int) (string, error) {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD")
	s = withoutControls(s)
	if !shows(s) {
		return "", &InvalidError{field, "Write something first."}
	}
	if n := utf8.RuneCountInString(s); n > maxRunes {
		return "", &InvalidError{field, "That is too long: " + itoa(n) + " characters, at most " + itoa(maxRunes) + "."}
	}
	return strings.TrimRight(s, " \t\n"), nil
}

// withoutControls takes out the characters that stand for nothing, such as NUL and
// ESC, but for tabs and line ends.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			return -1
		}
		return r
	}, s)
}

// shows reports whether there is anything to see, and to click on, in a text.
func shows(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.In(r, unicode.Mn, unicode.Me, unicode.Other_Default_Ignorable_Code_Point) && r != '\u2800'
	})
}

func checkRef(ref string) error {
	if len(ref) > maxRefBytes {
		return &InvalidError{"ref", "A ref has at most 200 bytes; a UUID serves."}
	}
	return nil
}
