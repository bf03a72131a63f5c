package collab

import "strings"

// maxMergeCells bounds the table of the longest common subsequence: two texts
// of 2,000 lines. Longer texts that were edited at once are a conflict.
const maxMergeCells = 4 << 20

// mergeText merges two edits of one text by lines, as diff3 does: where only
// one side changed the lines between two lines common to all three, that side
// wins. It is false when both changed the same place differently.
func mergeText(base, yours, theirs string) (string, bool) {
	if yours == theirs || theirs == base {
		return yours, true
	}
	if yours == base {
		return theirs, true
	}
	b, y, t := splitLines(base), splitLines(yours), splitLines(theirs)
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
		was := strings.Join(b[bi:stable], "")
		mine, other := strings.Join(y[yi:yEnd], ""), strings.Join(t[ti:tEnd], "")
		switch {
		case mine == other || other == was:
			out.WriteString(mine)
		case mine == was:
			out.WriteString(other)
		default:
			return "", false
		}
		if stable == len(b) {
			return out.String(), true
		}
		out.WriteString(b[stable])
		bi, yi, ti = stable+1, yEnd+1, tEnd+1
	}
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
