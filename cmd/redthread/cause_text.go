package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"redthread/views/ui"
)

// maxTextLines bounds what --text prints of one list; the JSON has all.
const maxTextLines = 200

func (p place) String() string {
	s := printable(p.Name)
	if s == "" {
		s = "span " + p.SpanID
	}
	if p.Service != "" {
		s += " in " + printable(p.Service)
	}
	return s
}

// full is the place with its time and ids.
func (p place) full() string {
	s := p.String()
	if p.StartUnixNano != 0 {
		s += " at " + time.Unix(0, p.StartUnixNano).UTC().Format("2006-01-02 15:04:05.000 UTC")
	}
	return s + "  " + p.TraceID + ":" + p.SpanID
}

// printable makes a name safe for a terminal: what senders write may hold
// control characters that move the cursor or turn the line round.
func printable(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

type originAnswer struct {
	Status, Reason      string
	Incomplete, Expired bool
	Origins, Candidates []place
	Furthest            *place
	Hops                []struct {
		Kind, Rule string
		Inferred   bool
		WaitNano   int64 `json:"wait_nano,string"`
		From, To   place
	}
	Links *struct {
		Of                          place
		Recorded, Dropped, Inferred int
	}
	Truncated bool
}

// reasons say why something is not known.
var reasons = map[string]string{
	"not_arrived": "a span that it names has not arrived", "sampled_out": "a span that it names was sampled out by its sender",
	"links_dropped": "a sender dropped links, as it may carry only so many", "not_recorded": "a sender left nothing that says for certain what caused it",
	"expired": "the spans are past their time", "cut": "the chain is longer than is followed at once",
	"too_many": "more than a thousand spans share the value by which a correlation of the settings joins it",
}

func reasonText(reason string) string {
	if words := reasons[reason]; words != "" {
		return words
	}
	return reason
}

// originText prints an origin as sentences.
func originText(w io.Writer, raw []byte) error {
	var o originAnswer
	if err := decode(raw, &o); err != nil {
		return err
	}
	p := printer{w: w}
	switch {
	case o.Status == "found" && len(o.Origins) == 1:
		p.line("Caused by %s", o.Origins[0].full())
	case o.Status == "ambiguous":
		p.line("Ambiguous: caused by one of %s.", ui.Count(len(o.Origins)))
		p.places(o.Origins)
	default:
		p.line("Unknown: %s.", reasonText(o.Reason))
		if o.Furthest != nil {
			p.line("The earliest span that is known: %s", o.Furthest.full())
		}
		if len(o.Candidates) > 0 {
			p.line("Beginnings that are known, the true one may be missing:")
			p.places(o.Candidates)
		}
	}
	if o.Incomplete {
		p.line("Some spans on the way never arrived.")
	}
	if o.Expired {
		p.line("Some spans on the way have expired.")
	}
	if l := o.Links; l != nil {
		p.line("%s: %s of %s links were sent, %s of the others found by ids.", l.Of, ui.Count(l.Recorded), ui.Count(l.Recorded+l.Dropped), ui.Count(l.Inferred))
	}
	if len(o.Hops) == 0 && o.Status == "found" {
		p.line("It is the origin itself.")
	}
	for i, h := range o.Hops {
		if i == maxTextLines {
			p.line("  and %s more hops: the JSON has all", ui.Count(len(o.Hops)-i))
			break
		}
		if i == 0 {
			p.line("  %s", h.From)
		}
		p.line("  → %s  (%s)", h.To, strings.Join(hopFacts(h.Kind, h.Rule, h.Inferred, h.WaitNano), ", "))
	}
	return p.err
}

func hopFacts(kind, rule string, inferred bool, wait int64) []string {
	sure := "recorded "
	if inferred {
		sure = "inferred "
	}
	facts := []string{sure + strings.ReplaceAll(kind, "_", " ")}
	if rule != kind && rule != "" {
		facts[0] += ", rule " + rule
	}
	if wait > 0 {
		facts = append(facts, "waited "+ui.Duration(wait))
	}
	return facts
}

// printer prints lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) places(list []place) {
	for i, c := range list {
		if i == maxTextLines {
			p.line("  and %s more: the JSON has all", ui.Count(len(list)-i))
			return
		}
		p.line("  %s", c.full())
	}
}

type threadAnswer struct {
	Origin, Start  *place
	Status, Reason string
	Candidates     []place
	Legs           []threadLeg
	Folds          []threadFold
	Selected       int
	Folded         int
	Cut            bool
	Ripple         struct {
		Traces, Messages, Jobs, Requests, Errors int
		BusyNano                                 int64 `json:"busy_nano,string"`
		WaitingNano                              int64 `json:"waiting_nano,string"`
		LastEffectNano                           int64 `json:"last_effect_nano,string"`
	}
}

type threadLeg struct {
	place
	Work, By, Rule, Topic string
	Cause, Errors         int
	Messages              int
	Fold                  *int // nil: of an older server, or none
	Inferred              bool
	WaitNano              int64 `json:"wait_nano,string"`
	DurationNano          int64 `json:"duration_nano,string"`
}

// threadFold are like traces that are counted; some of them may be legs too.
type threadFold struct {
	Cause, Parent, Traces, Failed int
	Service, Name, Topic          string
	MaxNano                       int64 `json:"max_nano,string"`
	MaxWaitNano                   int64 `json:"max_wait_nano,string"`
}

// threadText prints a thread as a sentence and a tree.
func threadText(w io.Writer, raw []byte) error {
	var t threadAnswer
	if err := decode(raw, &t); err != nil {
		return err
	}
	p := printer{w: w}
	switch {
	case t.Origin != nil:
		p.line("%s", t.Origin.full())
	case t.Status == "ambiguous":
		p.line("Where it began is ambiguous, one of %s:", ui.Count(len(t.Candidates)))
		p.places(t.Candidates)
	default:
		p.line("Where it began is unknown: %s.", reasonText(t.Reason))
		if t.Start != nil {
			p.line("The earliest span that is known: %s", t.Start.full())
		}
	}
	r := &t.Ripple
	p.line("%s, %s, %s and %s in %s; %s; trace time %s, waiting %s, last effect after %s.",
		counted(r.Messages, "message", "messages"), counted(r.Jobs, "job run", "job runs"), counted(r.Requests, "further request", "further requests"),
		counted(r.Errors, "error", "errors"), counted(r.Traces, "trace", "traces"), counted(len(t.Legs), "leg", "legs"),
		ui.Duration(r.BusyNano), ui.Duration(r.WaitingNano), ui.Duration(r.LastEffectNano))
	if t.Folded > 0 {
		p.line("%s of the traces are counted from their summaries and not listed one by one.", ui.Count(t.Folded))
	}
	if t.Cut {
		p.line("It is larger than what was read of it.")
	}
	tree := newThreadTree(&t)
	tree.print(&p, tree.top, 0)
	if tree.lines > maxTextLines {
		p.line("and more: the JSON has all")
	}
	return p.err
}

// maxTextDepth bounds the indent of the tree.
const maxTextDepth = 12

// threadTree is a thread as a tree of legs and folds.
type threadTree struct {
	t             *threadAnswer
	top           below
	ofLeg, ofFold []below
	lines         int
}

// below are the legs and folds that one thing caused.
type below struct{ legs, folds []int }

func (b *below) add(o *below) {
	b.legs, b.folds = append(b.legs, o.legs...), append(b.folds, o.folds...)
}

func newThreadTree(t *threadAnswer) *threadTree {
	tree := &threadTree{t: t, ofLeg: make([]below, len(t.Legs)), ofFold: make([]below, len(t.Folds))}
	for i := range t.Legs {
		if c := t.Legs[i].Cause; c >= 0 && c < i {
			tree.ofLeg[c].legs = append(tree.ofLeg[c].legs, i)
		} else {
			tree.top.legs = append(tree.top.legs, i)
		}
	}
	for i := range t.Folds {
		at := &tree.top
		switch f := &t.Folds[i]; {
		case f.Cause >= 0 && f.Cause < len(t.Legs):
			at = &tree.ofLeg[f.Cause]
		case f.Parent >= 0 && f.Parent < i:
			at = &tree.ofFold[f.Parent]
		}
		at.folds = append(at.folds, i)
	}
	return tree
}

// textGroup is what one line tells of: like legs of one cause, or of several that
// stand in one line, and those that are folded, which the legs are examples of then.
type textGroup struct {
	example          *threadLeg // nil: only folded ones
	place            place
	topic            string // of folded ones without an example
	runs, failed     int
	messages         int  // at least, if some are folded
	batches, folded  bool // some took more than one
	longest, maxWait int64
	below            below
}

// groups sorts what was caused into lines.
func (tree *threadTree) groups(of below) []*textGroup {
	var order []*textGroup
	byKey, byFold := map[string]*textGroup{}, map[int]*textGroup{}
	for _, i := range of.legs {
		l := &tree.t.Legs[i]
		key := l.Service + "\x00" + l.Name + "\x00" + l.Topic + "\x00" + l.By
		g := byKey[key]
		if g == nil {
			g = &textGroup{example: l, place: l.place}
			byKey[key], order = g, append(order, g)
		}
		g.below.add(&tree.ofLeg[i])
		g.longest, g.maxWait = max(g.longest, l.DurationNano), max(g.maxWait, l.WaitNano)
		g.batches = g.batches || l.Messages > 1
		if l.Fold != nil && *l.Fold >= 0 {
			byFold[*l.Fold] = g
			g.messages += max(l.Messages-1, 0)
			continue // its fold counts it
		}
		g.runs++
		g.messages += l.Messages
		if l.Errors > 0 {
			g.failed++
		}
	}
	for _, i := range of.folds {
		f := &tree.t.Folds[i]
		g := byFold[i]
		if g == nil {
			g = &textGroup{place: place{Service: f.Service, Name: f.Name}, topic: f.Topic}
			if f.Service == "" && f.Name == "" {
				g.place.Name = "work of many names"
			}
			order = append(order, g)
		}
		g.below.add(&tree.ofFold[i])
		g.runs, g.failed, g.messages, g.folded = g.runs+f.Traces, g.failed+f.Failed, g.messages+f.Traces, true
		g.longest, g.maxWait = max(g.longest, f.MaxNano), max(g.maxWait, f.MaxWaitNano)
	}
	return order
}

// print writes a line for each group, and under it what that caused.
func (tree *threadTree) print(p *printer, of below, depth int) {
	for _, g := range tree.groups(of) {
		if tree.lines++; tree.lines > maxTextLines {
			return
		}
		facts := []string{}
		if l := g.example; l != nil {
			if l.By != "" {
				facts = append(facts, hopFacts(l.By, "", l.Inferred, 0)...)
			}
			if l.Topic != "" && l.Topic != l.Name {
				facts = append(facts, "by "+printable(l.Topic))
			}
		} else if g.topic != "" && g.topic != g.place.Name {
			facts = append(facts, "by "+printable(g.topic))
		}
		up, times := "", ""
		if g.runs > 1 {
			up, times = "up to ", " ×"+ui.Count(g.runs)
		}
		if g.batches {
			words := counted(g.messages, "message", "messages")
			if g.folded {
				words = "at least " + words
			}
			facts = append(facts, words)
		}
		if g.maxWait > 0 {
			facts = append(facts, "waited "+up+ui.Duration(g.maxWait))
		}
		facts = append(facts, "took "+up+ui.Duration(g.longest))
		if g.failed > 0 {
			facts = append(facts, ui.Count(g.failed)+" failed")
		}
		arrow := ""
		if depth > 0 {
			arrow = "→ "
		}
		p.line("%s%s%s%s  (%s)", strings.Repeat("  ", min(depth, maxTextDepth)), arrow, g.place, times, strings.Join(facts, ", "))
		tree.print(p, g.below, depth+1)
	}
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return ui.Count(n) + " " + many
}
