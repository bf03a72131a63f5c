package views

import "time"

// Teams is the settings page of teams.
type Teams struct {
	Settings
	List []TeamRow

	// The form of a new team, and what is wrong with it.
	Name, Services string
	Errors         FieldErrors
	// The team whose form was wrong, with what was typed there.
	Editing, EditName, EditServices string
	Problems                        FieldErrors
}

// TeamRow is one team.
type TeamRow struct {
	ID, Name, Handle string
	NewName          string // in its form
	Services         string // one on a line
	Members          []TeamPerson
	Others           []Option // who could join
	Open             bool     // its form is unfolded
	Errors           FieldErrors
}

// TeamPerson is a member of a team.
type TeamPerson struct {
	ID, Name string
	Since    time.Time
}

func (p TeamPerson) hue() int { return ServiceHue(p.ID) }

func (v Teams) canEdit() bool { return v.Page.Me != nil && v.Page.Me.Admin }
