package views

import "time"

// Targets is the settings page of notifications.
type Targets struct {
	Settings   Settings
	List       []TargetView
	Deliveries []DeliveryView
	Hosts      []string
	Reasons    []ReasonOption
	// Form keeps what was typed when it was refused.
	Name, URL string
	Chosen    map[string]bool
	Errors    FieldErrors
	Host      string
	HostError string
}

// ReasonOption is one reason to notify.
type ReasonOption struct{ Value, Label string }

// TargetView is one target.
type TargetView struct {
	ID      string
	Name    string
	Host    string // of its address; the rest is secret
	Reasons string
	Enabled bool
	Created time.Time
}

// DeliveryView is one line of the delivery log.
type DeliveryView struct {
	ID       string
	Target   string
	Reason   string
	Title    string
	State    string
	Created  time.Time
	Next     time.Time // of the next try, zero: none
	Attempts []AttemptView
}

// AttemptView is one try.
type AttemptView struct {
	Number   int
	At       time.Time
	Took     string
	Status   int
	Response string
	Error    string
}

func deliveryTone(state string) string {
	switch state {
	case "delivered":
		return "ok"
	case "failed":
		return "warn"
	}
	return "focus"
}
