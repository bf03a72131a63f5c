package query

import (
	"fmt"
	"math"
	"strings"
	"time"

	"redthread/tracestore/trace"
)

func unixTimestamp(s string) trace.Value {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return trace.Value{}
	}
	return trace.Float(float64(t.Unix()) + float64(t.Nanosecond())/1e9)
}

// timestamp reads a column of nanoseconds as seconds.
func timestamp(name string) buildFunc {
	return func(c *calcCompiler, _ *expr, _ []operand) (evalFunc, error) {
		slot := c.slot(name)
		return func(r *calcRow) trace.Value {
			if r.in[slot].Type != trace.TypeInt {
				return trace.Value{}
			}
			return trace.Float(float64(r.in[slot].Int()) / 1e9)
		}, nil
	}
}

// timeVerbs are the verbs of FORMAT_TIME, those of C's strftime in the "C" locale,
// as layouts of package time.
var timeVerbs = map[byte]string{
	'A': "Monday", 'a': "Mon", 'B': "January", 'b': "Jan", 'h': "Jan", 'c': "Mon Jan _2 15:04:05 2006",
	'D': "01/02/06", 'd': "02", 'e': "_2", 'F': "2006-01-02", 'H': "15", 'I': "03", 'j': "002", 'M': "04", 'm': "01",
	'p': "PM", 'R': "15:04", 'r': "03:04:05 PM", 'S': "05", 'T': "15:04:05", 'X': "15:04:05", 'x': "01/02/06",
	'Y': "2006", 'y': "06", 'Z': "MST", 'z': "-0700",
}

// maxTime9999 is the end of the year 9999, in seconds.
const maxTime9999 = 253_402_300_800

func buildFormatTime(c *calcCompiler, e *expr, args []operand) (evalFunc, error) {
	format := args[0]
	if !format.constant || format.value.Type != trace.TypeString {
		return nil, c.fault(e.args[0].at, `The format of FORMAT_TIME is a text as it stands, such as "%%Y-%%m-%%d"`)
	}
	var parts []func([]byte, time.Time) []byte
	literal := func(s string) {
		parts = append(parts, func(b []byte, _ time.Time) []byte { return append(b, s...) })
	}
	before, rest, found := strings.Cut(format.value.Str, "%")
	for ; ; before, rest, found = strings.Cut(rest[1:], "%") {
		literal(before)
		if !found {
			break
		}
		verb := byte(0)
		if rest != "" {
			verb = rest[0]
		}
		layout, known := timeVerbs[verb]
		switch {
		case known:
			parts = append(parts, func(b []byte, t time.Time) []byte { return t.AppendFormat(b, layout) })
		case verb == '%':
			literal("%")
		case verb == 's':
			parts = append(parts, func(b []byte, t time.Time) []byte { return fmt.Appendf(b, "%d", t.Unix()) })
		case verb == 'u', verb == 'w': // Monday is 1; Sunday is 7, or 0
			parts = append(parts, func(b []byte, t time.Time) []byte {
				day := int(t.Weekday())
				if day == 0 && verb == 'u' {
					day = 7
				}
				return fmt.Appendf(b, "%d", day)
			})
		default:
			return nil, c.fault(e.args[0].at, "FORMAT_TIME does not know the verb %%%s", rest[:min(1, len(rest))])
		}
	}
	seconds := args[1].eval
	return func(r *calcRow) trace.Value {
		n, ok := readValue(seconds(r))
		sec := n.Float()
		if !ok || math.Abs(sec) >= maxTime9999 {
			return trace.Value{}
		}
		whole := math.Floor(sec)
		t := time.Unix(int64(whole), int64((sec-whole)*1e9)).UTC()
		var b []byte
		for _, part := range parts {
			b = part(b, t)
		}
		return trace.String(string(b))
	}, nil
}
