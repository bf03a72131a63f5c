package handlers

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxStateKeys bounds the folded and opened rows that a URL carries (17 bytes
// each): beyond it addresses grow longer than proxies let through.
const maxStateKeys = 200

// traceState is what the address of a trace page says: all that is on screen.
// static/js/trace_state.js reads and writes the same.
type traceState struct {
	trace    string
	span     string   // key of the selected row, "" for none
	levels   int      // rows of this level and deeper start folded; 0: none
	fold     []string // keys folded by hand
	open     []string // keys opened by hand although levels would fold them
	from     int64    // zoom, nanoseconds from the trace's start; both 0: the whole trace
	to       int64
	part     int // part of the trace's time that the axis shows, from 1; 0: the main one
	search   string
	fields   string // filter of the attributes in the span panel
	critical bool   // the critical path is drawn
	row      int    // first row of the page, without scripts; 0: around the selected span
}

// parseTraceState reads the state. What it cannot read it leaves out: an old or
// mangled link still opens the trace.
func parseTraceState(trace, span string, q url.Values) traceState {
	st := traceState{trace: trace, span: span, search: strings.TrimSpace(q.Get("q")), fields: strings.TrimSpace(q.Get("fields"))}
	if half := q.Get("half"); span != "" && half != "" && len(half) < 3 {
		st.span += "." + half
	}
	if n, err := strconv.Atoi(q.Get("levels")); err == nil && n > 0 {
		st.levels = n
	}
	if n, err := strconv.Atoi(q.Get("part")); err == nil && n > 0 {
		st.part = n
	}
	st.critical = q.Get("critical") == "1"
	if n, err := strconv.Atoi(q.Get("row")); err == nil && n > 0 {
		st.row = n
	}
	st.fold, st.open = splitKeys(q.Get("fold")), splitKeys(q.Get("open"))
	if a, b, ok := strings.Cut(q.Get("zoom"), "-"); ok {
		from, err1 := strconv.ParseInt(a, 10, 64)
		to, err2 := strconv.ParseInt(b, 10, 64)
		if err1 == nil && err2 == nil && from >= 0 && from < to {
			st.from, st.to = from, to
		}
	}
	return st
}

func splitKeys(s string) []string {
	if s == "" {
		return nil
	}
	keys := strings.Split(s, ",")
	return keys[:min(len(keys), maxStateKeys)]
}

// href is the address of the state.
func (st traceState) href() string {
	var b strings.Builder
	b.WriteString("/t/" + st.trace)
	q := make([]string, 0, 8)
	add := func(name, value string) {
		if value != "" {
			q = append(q, name+"="+value)
		}
	}
	if span, half, _ := strings.Cut(st.span, "."); span != "" {
		b.WriteString("/" + span)
		add("half", half)
	}
	if st.levels > 0 {
		add("levels", strconv.Itoa(st.levels))
	}
	add("fold", strings.Join(st.fold, ","))
	add("open", strings.Join(st.open, ","))
	if st.to > 0 {
		add("zoom", strconv.FormatInt(st.from, 10)+"-"+strconv.FormatInt(st.to, 10))
	}
	if st.part > 0 {
		add("part", strconv.Itoa(st.part))
	}
	if st.critical {
		add("critical", "1")
	}
	add("q", url.QueryEscape(st.search))
	add("fields", url.QueryEscape(st.fields))
	if st.row > 0 {
		add("row", strconv.Itoa(st.row))
	}
	if len(q) > 0 {
		b.WriteString("?" + strings.Join(q, "&"))
	}
	return b.String()
}

// folded reports whether a row with children is folded. depth counts from 0.
func (st *traceState) folded(key string, depth int) bool {
	if st.levels > 0 && depth+1 >= st.levels {
		return !slices.Contains(st.open, key)
	}
	return slices.Contains(st.fold, key)
}

// toggled is the state after folding or unfolding a row.
func (st traceState) toggled(key string, depth int) traceState {
	list := &st.fold
	if st.levels > 0 && depth+1 >= st.levels {
		list = &st.open
	}
	if i := slices.Index(*list, key); i >= 0 {
		*list = slices.Delete(slices.Clone(*list), i, i+1)
	} else if len(*list) < maxStateKeys {
		*list = append(slices.Clone(*list), key)
	}
	return st
}

// opened is the state in which no row above row i is folded.
func (st traceState) opened(t *traceTree, i int) traceState {
	for _, at := range t.path(i) {
		if at == i {
			break
		}
		if key := t.rows[at].key(); st.folded(key, t.rows[at].depth) {
			st = st.toggled(key, t.rows[at].depth)
		}
	}
	return st
}

// visibleRows returns the rows that are not inside a folded one.
func (st *traceState) visibleRows(t *traceTree) []int {
	rows := make([]int, 0, len(t.rows))
	for i := 0; i < len(t.rows); {
		rows = append(rows, i)
		r := &t.rows[i]
		if r.end > i+1 && st.folded(r.key(), r.depth) {
			i = r.end
		} else {
			i++
		}
	}
	return rows
}
