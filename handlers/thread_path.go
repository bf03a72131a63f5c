package handlers

import (
	"strings"

	"redthread/tracestore/graph"
	"redthread/views"
	"redthread/views/ui"
)

// maxPhrases is how many hops the sentence tells; of a longer way it leaves out
// the middle.
const maxPhrases = 12

// told lists the groups that the sentence tells, from the first on: those on the
// way to the selected leg, or, where none is or it is the beginning, those of the
// largest branch.
func told(g *grouping, selected int) []int {
	if len(g.groups) == 0 {
		return nil
	}
	if selected > 0 {
		var list []int
		for at := g.of[selected]; at >= 0; at = g.groups[at].parent {
			list = append(list, at)
		}
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
		return list
	}
	list := []int{0}
	for {
		next := largest(g.groups, g.groups[list[len(list)-1]].children)
		if next < 0 {
			return list
		}
		list = append(list, next)
	}
}

// largest is the child with the most below it, -1 if there is none.
func largest(groups []threadGroup, children []int) int {
	best := -1
	for _, g := range children {
		if best < 0 || groups[g].size > groups[best].size {
			best = g
		}
	}
	return best
}

// threadSentence tells the thread along some groups: what began it, what that
// sent, what was set off and how often. who names the person behind it, or "".
func threadSentence(g *grouping, path []int, who string, href func(leg int) string) []views.Phrase {
	if len(path) == 0 {
		return nil
	}
	link := func(grp *threadGroup) string {
		if len(grp.legs) == 0 {
			return ""
		}
		return href(grp.legs[0])
	}
	if next := largest(g.groups, g.groups[path[len(path)-1]].children); next >= 0 {
		path = append(path[:len(path):len(path)], next) // what it set off most
	}
	first := &g.groups[path[0]]
	list := []views.Phrase{{Text: first.name, Strong: true, Href: link(first)}}
	if who != "" {
		list = append(list, views.Phrase{Text: "by " + who})
	}
	list = append(list, views.Phrase{Text: "in " + shown(first.service), Quiet: true})
	steps := repeats(g, path[1:])
	aside := 0
	if len(steps) > 0 {
		aside = len(first.children) - 1
	}
	at := first
	for n, step := range steps {
		if skip := len(steps) - maxPhrases; skip > 0 && n >= maxPhrases/2 && n < maxPhrases/2+skip {
			if n == maxPhrases/2 {
				list = append(list, views.Phrase{Arrow: true, Text: countOf(skip, "more hop", "more hops"), Quiet: true})
			}
			at = &g.groups[step[len(step)-1]]
			continue
		}
		grp := &g.groups[step[0]]
		if grp.topic != "" {
			list = append(list, views.Phrase{Arrow: true, Text: "message"}, views.Phrase{Text: shown(grp.topic), Strong: true})
			if grp.waitNano > 0 {
				list = append(list, views.Phrase{Text: "(" + waitWords(grp.runs, grp.waitNano) + ")", Quiet: true})
			}
		}
		count, failed, retries, deep, wait, shared := 0, 0, 0, 0, int64(0), false
		var took threadGroup
		for k, i := range step {
			count += g.groups[i].runs
			failed += g.groups[i].failed
			retries += g.groups[i].retries
			deep += g.groups[i].deep + min(k, 1)
			wait = max(wait, g.groups[i].waitNano)
			shared = shared || g.groups[i].shared
			took.takeMessages(&g.groups[i])
			if k > 0 {
				aside += len(g.groups[step[k-1]].children) - 1
			}
		}
		if n > 0 {
			aside += len(at.children) - 1
		}
		list = append(list, views.Phrase{Arrow: true, Text: grp.name, Strong: true, Href: link(grp)})
		switch {
		case shared && count > 1:
			list = append(list, views.Phrase{Text: "up to ×" + ui.Count(count)})
		case shared:
			list = append(list, views.Phrase{Text: "perhaps", Quiet: true})
		case count > 1:
			list = append(list, views.Phrase{Text: "×" + ui.Count(count)})
		}
		if words := took.messageWords(); words != "" {
			if count == 1 {
				words = "of " + words
			} else {
				words = "· " + words
			}
			list = append(list, views.Phrase{Text: words})
		}
		if grp.service != at.service {
			list = append(list, views.Phrase{Text: "in " + shown(grp.service), Quiet: true})
		}
		if deep > 0 {
			list = append(list, views.Phrase{Text: "set off itself " + ui.Count(deep) + " deep", Quiet: true})
		}
		if grp.topic == "" && wait > 0 {
			list = append(list, views.Phrase{Text: "(" + waitWords(count, wait) + ")", Quiet: true})
		}
		if failed > 0 {
			text := ui.Count(failed) + " failed"
			if retries > 0 {
				text += ", retried"
			}
			list = append(list, views.Phrase{Text: text, Warn: true})
		}
		at = &g.groups[step[len(step)-1]]
	}
	below := at.size - at.runs
	switch {
	case len(steps) == 0 && below == 0 && len(first.legs) < 2:
		list = append(list, views.Phrase{Text: "set off nothing that is recorded", Quiet: true})
	case below > 0:
		list = append(list, views.Phrase{Arrow: true, Text: ui.Count(below) + " more", Quiet: true})
	}
	if aside > 0 {
		list = append(list, views.Phrase{Text: "and " + countOf(aside, "other branch", "other branches"), Quiet: true})
	}
	return list
}

// repeats joins groups of a way that are the same work again and again: it is
// told once.
func repeats(g *grouping, path []int) [][]int {
	var steps [][]int
	for _, at := range path {
		if n := len(steps); n > 0 {
			a, b := &g.groups[steps[n-1][0]], &g.groups[at]
			if a.service == b.service && a.name == b.name && a.work == b.work && a.topic == b.topic {
				steps[n-1] = append(steps[n-1], at)
				continue
			}
		}
		steps = append(steps, []int{at})
	}
	return steps
}

func waitWords(runs int, nano int64) string {
	if runs > 1 {
		return "waited up to " + ui.Duration(nano)
	}
	return waited(nano)
}

// sentenceText is a sentence as plain text, to be copied into a chat.
func sentenceText(list []views.Phrase) string {
	var b strings.Builder
	for i, p := range list {
		if p.Arrow {
			b.WriteString(" →")
		}
		if i > 0 {
			b.WriteString(" ")
		}
		if p.Warn {
			b.WriteString("(" + p.Text + ")")
			continue
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

// threadBeginning names where a thread begins.
func threadBeginning(t *graph.Thread) (graph.OriginSpan, bool) {
	switch {
	case t.Origin != nil:
		return *t.Origin, true
	case t.Start != nil:
		return *t.Start, true
	case len(t.Legs) > 0:
		return graph.OriginSpan{SpanInfo: t.Legs[0].SpanInfo, StartUnixNano: t.Legs[0].StartUnixNano}, true
	}
	return graph.OriginSpan{}, false
}
