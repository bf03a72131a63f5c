package views

import (
	"github.com/a-h/templ"

	"redthread/views/ui"
)

// Again is a form that could not be taken.
type Again struct {
	Page            Page
	Message         string // what is wrong with it
	Action          string
	Back, BackLabel string // where the person came from
	Files           bool
	Deletes         bool // it erases something
	Fields          []AgainField
	Keep            []Option // the fields that nobody sees: Label is the name
}

// AgainField is one field as it was sent.
type AgainField struct {
	Name, Label, Value string
	Type               string // default: text
	Long               bool
	Wrong              bool     // it is what the message is about
	Options            []Option // of a choice
}

func (f AgainField) attrs() templ.Attributes {
	a := templ.Attributes{}
	if f.Wrong {
		a["aria-invalid"], a["autofocus"] = "true", true
	}
	if f.Type == "file" {
		a["accept"] = "image/png,image/jpeg,image/webp"
	}
	return a
}

func uiOptions(list []Option) []ui.Option {
	out := make([]ui.Option, len(list))
	for i, o := range list {
		out[i] = ui.Option(o)
	}
	return out
}
