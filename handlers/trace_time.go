package handlers

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"redthread/views"
	"redthread/views/ui"
)

const (
	// farGap and farRatio say when a pause parts a trace in two: it is longer than
	// half a day and than so many times all that happens around it, so that on one
	// axis no bar could be seen. Delayed jobs make such traces, and clocks that
	// stand at 1970.
	farGap   = int64(12 * time.Hour)
	farRatio = 50
	// timeless is a span so long that its start or its end is no time at all.
	timeless = int64(365 * 24 * time.Hour)
	// maxTimeParts is how many parts the page names.
	maxTimeParts = 6
)

// timePart is a stretch of time in which spans of a trace lie, far from the
// others of the trace.
type timePart struct {
	from, to int64 // to is after from
	spans    int
}

// timeParts parts the time of a trace at pauses too long to be drawn; there is
// at least one. main is the part with the most spans.
func (t *traceTree) timeParts() (parts []timePart, main int) {
	type interval struct{ from, to int64 }
	list := make([]interval, 0, len(t.rows))
	for i := range t.rows {
		r := &t.rows[i]
		if r.span == nil {
			continue
		}
		end := r.endNano
		if end < r.startNano || end-r.startNano > timeless {
			end = r.startNano
		}
		list = append(list, interval{r.startNano, end})
	}
	slices.SortFunc(list, func(a, b interval) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var busy int64 // what the intervals cover, pauses left out
	at := list[0].from
	for _, v := range list {
		if v.to > at {
			busy += v.to - max(v.from, at)
			at = v.to
		}
	}
	far := farGap
	if busy < timeless {
		far = max(far, farRatio*busy)
	}
	for _, v := range list {
		last := len(parts) - 1
		// Unsigned: from 1970 to 2262 an int64 holds the difference, from before
		// 1970 it may not.
		if last < 0 || v.from > parts[last].to && uint64(v.from-parts[last].to) > uint64(far) {
			parts = append(parts, timePart{v.from, v.to, 1})
			continue
		}
		parts[last].to = max(parts[last].to, v.to)
		parts[last].spans++
	}
	for i := range parts {
		parts[i].to = max(parts[i].to, parts[i].from+1)
		if parts[i].spans > parts[main].spans {
			main = i
		}
	}
	return parts, main
}

// usePart lets the axis show one part of the trace's time, counted from 1; 0, or
// a part that is not there, is the main one.
func (t *traceTree) usePart(n int) {
	t.part = t.mainPart
	if n > 0 && n <= len(t.parts) {
		t.part = n - 1
	}
	p := t.parts[t.part]
	t.startNano, t.extentNano = p.from, p.to-p.from
}

// far says where a row lies that is in another part of the trace's time: before
// (-1) or after (1) the one shown, 0 within it; and how far, in words.
func (t *traceTree) far(i int) (side int, words string) {
	r := &t.rows[i]
	if len(t.parts) < 2 || r.span == nil {
		return 0, ""
	}
	p := t.parts[t.part]
	switch {
	case r.startNano > p.to:
		return 1, farWords(r.startNano-p.to) + " later ▸"
	case r.endNano < p.from:
		return -1, "◂ " + farWords(p.from-r.endNano) + " earlier"
	}
	return 0, ""
}

// farWords is a long time in one unit.
func farWords(nano int64) string {
	days := nano / int64(24*time.Hour)
	switch {
	case nano < 0: // more than 292 years
		return "centuries"
	case days >= 730:
		return strconv.FormatInt(days/365, 10) + " years"
	case days >= 2:
		return strconv.FormatInt(days, 10) + " days"
	}
	return strconv.FormatInt(nano/int64(time.Hour), 10) + " hours"
}

// timePartsNotice says that the trace lies in parts, and why that may be.
func (t *traceTree) timePartsNotice() string {
	if len(t.parts) < 2 {
		return ""
	}
	gap := t.parts[len(t.parts)-1].from - t.parts[0].to
	for i := 1; i < len(t.parts); i++ {
		if g := t.parts[i].from - t.parts[i-1].to; g < 0 || gap >= 0 && g > gap {
			gap = g
		}
	}
	why := "Work that waited long makes such traces, and clocks that are wrong."
	if gap < 0 || gap > timeless || t.parts[0].from < timeless {
		why = "Clocks disagree: no work waits that long."
	}
	return fmt.Sprintf("The spans of this trace lie up to %s apart. %s The time axis shows one part of them, the other rows say how far off they are.", farWords(gap), why)
}

// timePartLinks lead to the parts of the trace's time.
func (v *traceView) timePartLinks() []views.TimePart {
	t := v.tree
	if len(t.parts) < 2 {
		return nil
	}
	var list []views.TimePart
	for i, p := range t.parts {
		if i >= maxTimeParts && i != t.part {
			continue
		}
		st := v.state
		st.part, st.from, st.to, st.row = i+1, 0, 0, 0
		if i == t.mainPart {
			st.part = 0
		}
		list = append(list, views.TimePart{Start: unixTime(p.from), Text: countOf(p.spans, "span", "spans") + " in " + ui.Duration(p.to-p.from), Href: st.href(), Current: i == t.part})
	}
	return list
}
