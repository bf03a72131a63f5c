package views

// Redact is the form that takes a value out of a pin.
type Redact struct {
	Page   Page
	Title  string // of the pin
	Action string // where the form goes
	Back   string
	Errors FieldErrors
}
