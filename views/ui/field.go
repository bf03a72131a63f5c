package ui

import "github.com/a-h/templ"

// FieldModel is a labelled input.
type FieldModel struct {
	ID       string // default: the name
	Name     string
	Label    string
	Type     string // default: text
	Value    string
	Hint     string
	Error    string // the sentence beside the field, "" if it is fine
	Required bool
	Attrs    templ.Attributes
}

// Option is one choice of a [Select].
type Option struct{ Value, Label string }

func (f FieldModel) id() string {
	if f.ID != "" {
		return f.ID
	}
	return "f-" + f.Name
}

func (f FieldModel) kind() string {
	if f.Type != "" {
		return f.Type
	}
	return "text"
}

// describe ties hint and error to the input for those who hear the page.
func (f FieldModel) describe() templ.Attributes {
	a := templ.Attributes{}
	by := ""
	if f.Hint != "" {
		by = f.id() + "-hint"
	}
	if f.Error != "" {
		a["aria-invalid"] = "true"
		if by != "" {
			by += " "
		}
		by += f.id() + "-error"
	}
	if by != "" {
		a["aria-describedby"] = by
	}
	return a
}

func bannerRole(tone string) string {
	if tone == "warn" {
		return "alert"
	}
	return "status"
}
