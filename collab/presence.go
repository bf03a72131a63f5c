package collab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// PresencePreferences are what a person chose about being seen by the others who
// are here. Where somebody is, is never stored; this is.
type PresencePreferences struct {
	Hidden bool `json:"hidden"` // is shown to nobody
	Alone  bool `json:"alone"`  // lets nobody follow
}

func presenceSetting(person string) string { return "presence." + person }

// PresencePreferences returns what a person chose, or else the zero value.
func (s *Store) PresencePreferences(ctx context.Context, person string) (PresencePreferences, error) {
	var p PresencePreferences
	raw, err := s.Setting(ctx, presenceSetting(person))
	if errors.Is(err, ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		return PresencePreferences{}, fmt.Errorf("presence preferences of %s: %w", person, err)
	}
	return p, nil
}

// SetPresencePreferences keeps what a person chose.
func (s *Store) SetPresencePreferences(ctx context.Context, person string, p PresencePreferences) error {
	raw, err := marshal(p)
	if err != nil {
		return fmt.Errorf("encode presence preferences: %w", err)
	}
	return s.SetSetting(ctx, presenceSetting(person), string(raw))
}
