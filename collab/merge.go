package collab

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMergeCells bounds the table of the longest common subsequence: two texts
// of 2,000 lines. Longer texts that were edited at once are a conflict.
const maxMergeCells = 4 << 20

// mergeText merges two edits of one text as diff3 does: where only one side
// changed what stands between two lines common to all three, that side wins. Where
// both changed the same lines, their words are merged alike, since a paragraph is
// one line. It is false when both changed the same words differently.
func mergeText(base, yours, theirs string) (string, bool) {
	return merge3(splitLines(base), splitLines(yours), splitLines(theirs), func(was, mine, other []string) (string, bool) {
		if len(was) == 0 {
			return "", false // both put something in the same place: in which order is theirs to say
		}
		return merge3(splitWords(was), splitWords(mine), splitWords(other), func([]string, []string, []string) (string, bool) {
			return "", false
		})
	})
}

// mergeEdits puts an edit of a text on top of what others made of it since base,
// which is known or not. It is a [ConflictError] where that cannot be, or where the
// text becomes longer than max runes: that, with its versions.
func mergeEdits(base string, known bool, yours, theirs string, maxRunes int, conflict ConflictError) (string, error) {
	// A last line is ended while merging, so that two texts that differ in what
	// follows it do not differ in the line itself.
	m, ok := mergeText(base+"\n", yours+"\n", theirs+"\n")
	m = strings.TrimRight(m, "\n")
	if !known || !ok || utf8.RuneCountInString(m) > maxRunes {
		both := strings.TrimRight(mergeBoth(base+"\n", yours+"\n", theirs+"\n"), "\n")
		conflict.Field, conflict.Yours, conflict.Theirs, conflict.Merged = "text", yours, theirs, both
		return "", &conflict
	}
	return m, nil
}

// mergeBoth merges two edits of one text and leaves nothing of either out: where
// they meet, theirs comes first and yours after it. It is a proposal for a person.
func mergeBoth(base, yours, theirs string) string {
	both := func(_, mine, other []string) (string, bool) {
		a, b := strings.Join(other, ""), strings.Join(mine, "")
		if a != "" && b != "" && !strings.HasSuffix(a, "\n") {
			a += "\n"
		}
		return a + b, true
	}
	if m, ok := merge3(splitLines(base), splitLines(yours), splitLines(theirs), func(was, mine, other []string) (string, bool) {
		if len(was) > 0 {
			if m, ok := merge3(splitWords(was), splitWords(mine), splitWords(other), func([]string, []string, []string) (string, bool) { return "", false }); ok {
				return m, true
			}
		}
		return both(was, mine, other)
	}); ok {
		return m
	}
	m, _ := both(nil, []string{yours}, []string{theirs}) // too long to compare
	return m
}

// merge3 merges two edits of a list of parts. It asks meet for what to put where
// both changed the same parts differently; if meet is false, so is merge3. It is
// false too if the texts are too long to compare.
func merge3(b, y, t []string, meet func(was, mine, other []string) (string, bool)) (string, bool) {
	inY, ok1 := matchLines(b, y)
	inT, ok2 := matchLines(b, t)
	if !ok1 || !ok2 {
		return "", false
	}
	var out strings.Builder
	bi, yi, ti := 0, 0, 0
	for {
		stable := bi
		for stable < len(b) && (inY[stable] < yi || inT[stable] < ti) {
			stable++
		}
		yEnd, tEnd := len(y), len(t)
		if stable < len(b) {
			yEnd, tEnd = inY[stable], inT[stable]
		}
		was, mine, other := b[bi:stable], y[yi:yEnd], t[ti:tEnd]
		switch {
		case slices.Equal(mine, other) || slices.Equal(other, was):
			out.WriteString(strings.Join(mine, ""))
		case slices.Equal(mine, was):
			out.WriteString(strings.Join(other, ""))
		default:
			merged, ok := meet(was, mine, other)
			if !ok {
				return "", false
			}
			out.WriteString(merged)
		}
		if stable == len(b) {
			return out.String(), true
		}
		out.WriteString(b[stable])
		bi, yi, ti = stable+1, yEnd+1, tEnd+1
	}
}

// splitWords cuts lines behind each run of white space, so that between two edits
// that leave each other alone stands a word that both kept.
func splitWords(lines []string) []string {
	text := strings.Join(lines, "")
	var words []string
	start, space := 0, false
	for i, r := range text {
		if s := unicode.IsSpace(r); space && !s {
			words = append(words, text[start:i])
			start = i
			space = false
		} else {
			space = s
		}
	}
	if start < len(text) {
		words = append(words, text[start:])
	}
	return words
}

// splitLines cuts a text after each newline. A last line without one gets it
// only by comparison: "a" and "a\n" are different lines.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	lines := strings.SplitAfter(s, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// matchLines returns, for each line of a, its partner in b on a longest common
// subsequence, or -1. It is false when the texts are too long to compare.
func matchLines(a, b []string) ([]int, bool) {
	match := make([]int, len(a))
	for i := range match {
		match[i] = -1
	}
	lo := 0
	for lo < len(a) && lo < len(b) && a[lo] == b[lo] {
		match[lo] = lo
		lo++
	}
	ahi, bhi := len(a), len(b)
	for ahi > lo && bhi > lo && a[ahi-1] == b[bhi-1] {
		ahi--
		bhi--
		match[ahi] = bhi
	}
	n, m := ahi-lo, bhi-lo
	if n*m > maxMergeCells {
		return nil, false
	}
	width := m + 1
	length := make([]int32, (n+1)*width)
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if a[lo+i] == b[lo+j] {
				length[i*width+j] = length[(i+1)*width+j+1] + 1
			} else {
				length[i*width+j] = max(length[(i+1)*width+j], length[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case a[lo+i] == b[lo+j]:
			match[lo+i] = lo + j
			i++
			j++
		case length[(i+1)*width+j] >= length[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return match, true
}
