package handlers

import (
	"errors"
	"strings"
	"testing"

	"redthread/collab"
)

// What a program sent wrong is named, with what was expected in its place.
func TestWrongFieldsAreExplained(t *testing.T) {
	for body, want := range map[string]string{
		`{"titel":"x"}`:                   "This call has no field of that name. It has ref, seen, title, status,",
		`{"services":{"add":["web-uk"]}}`: "Expected true or false, got array.",
		`{"title":5}`:                     "Expected a string, got number.",
	} {
		var u collab.InvestigationUpdate
		var invalid *collab.InvalidError
		if err := decodeStrict([]byte(body), &u); !errors.As(err, &invalid) || !strings.Contains(invalid.Message, want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}
