package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// later are fields of Honeycomb's specification that cannot be answered yet.
var later = map[string]bool{"formulas": true, "compare_time_offset_seconds": true, "usage_mode": true}

// ParseSpec reads a specification from JSON. It refuses fields it does not
// know, so that a misspelt filter is not silently left out. Numbers in filters
// stay exact. Errors are *[InvalidError].
func ParseSpec(data []byte) (Spec, error) {
	var s Spec
	return s, parseJSON(data, &s)
}

// ParseSearch reads a search from JSON, as [ParseSpec] does.
func ParseSearch(data []byte) (Search, error) {
	var s Search
	return s, parseJSON(data, &s)
}

func parseJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return explainJSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return &InvalidError{"", "There is more after the end of the JSON object."}
	}
	return nil
}

func explainJSON(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		if typ.Field == "" {
			return &InvalidError{"", fmt.Sprintf("Want a JSON object, got %s.", jsonType(typ.Value))}
		}
		return &InvalidError{typ.Field, fmt.Sprintf("Want %s here, got %s.", goType(typ.Type.String()), jsonType(typ.Value))}
	case errors.As(err, &syntax):
		return &InvalidError{"", fmt.Sprintf("This is not JSON: %v (at byte %d).", syntax, syntax.Offset)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &InvalidError{"", "The JSON ends too early. Send at least {}."}
	}
	// encoding/json has no type for this error, only the text.
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		name = strings.TrimSuffix(name, `"`)
		if later[name] {
			return &InvalidError{name, name + " is not available yet."}
		}
		return &InvalidError{name, fmt.Sprintf("Unknown field %q.", name)}
	}
	return &InvalidError{"", err.Error()}
}

func jsonType(v string) string {
	switch name, _, _ := strings.Cut(v, " "); name { // "number 1.5"
	case "array":
		return "a list"
	case "object":
		return "an object"
	default:
		return "a " + name
	}
}

func goType(t string) string {
	t = strings.TrimLeft(t, "*")
	switch {
	case strings.HasPrefix(t, "[]"):
		return "a list"
	case strings.HasPrefix(t, "int"):
		return "a whole number"
	case strings.HasPrefix(t, "float"):
		return "a number"
	case t == "bool":
		return "true or false"
	case t == "string":
		return "a string"
	}
	return "an object"
}
