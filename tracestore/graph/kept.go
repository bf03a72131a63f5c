package graph

import (
	"slices"

	"redthread/tracestore/trace"
)

// DefaultKept are the attributes that summaries keep unless the settings say
// otherwise: whose request it was, and its id, under the names that these have.
func DefaultKept() []string {
	return slices.Concat([]string{"user.id", "enduser.id", "user_id"}, fieldKeys[fieldRequestID])
}

// MaxKeptBytes bounds a value that a summary keeps. Longer ones are no ids.
const MaxKeptBytes = 128

// Keep returns an attribute's value as summaries keep it, text; false: not at all.
func Keep(v trace.Value) (trace.Value, bool) {
	text := v.Text()
	return trace.String(text), text != "" && len(text) <= MaxKeptBytes
}
