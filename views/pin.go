package views

// PinFormModel is what [PinForm] pins. TraceID, SpanID and QueryJSON are set by
// kind, as in the API.
type PinFormModel struct {
	Kind      string // span, trace, thread or query
	TraceID   string
	SpanID    string
	QueryJSON string
	// Label is the name of the button; empty: "Pin to…".
	Label string
	// Ref makes a second submit of the same form harmless.
	Ref string
	// Back is the path of the page that the form stands on.
	Back   string
	Recent []PinChoice // investigations to pin to, the likeliest first
	// Title is what a new investigation is called if nobody types a title.
	Title string
}

// PinChoice is an investigation that a pin can go to.
type PinChoice struct{ ID, Title, Status string }

func (m PinFormModel) label() string {
	if m.Label != "" {
		return m.Label
	}
	return "Pin to…"
}

// what says in words what is pinned.
func (m PinFormModel) what() string {
	return "this " + m.Kind
}
