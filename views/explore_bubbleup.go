package views

import "strings"

// ExploreBubbleUp is in what a selection of the rows differs from the rest, or how
// to select something.
type ExploreBubbleUp struct {
	Help   bool          // nothing is selected
	Offers []ExploreLink // what could be

	Selection, Baseline string // rows
	Label               string // the selection in words; "" if it is a stretch of time
	DropURL             string
	TracesURL, ZoomURL  string // the selection as the query
	Sampled             []string
	Warnings            []string
	Compared            string       // columns
	Cards               []BubbleCard // the columns that differ, most first
	Rest                []BubbleCard // those that do not, and those that define the selection
	More                int          // columns beyond those
}

// BubbleCard is one column: values, or a histogram, on both sides.
type BubbleCard struct {
	Name, GroupURL string
	Difference     string // "+98.2 pt"; "" if there is none for sure
	Score          string // 0 to 1
	Statement      string // what holds so much more often, unless a row shows it
	StatementURL   string // the rows for which it holds
	Rows, MoreRows []BubbleRow
	Bars           *BubbleBars
	NearUnique     bool
	Defines        bool
}

// BubbleRow is one value, or the rows without one, on both sides.
type BubbleRow struct {
	Text, Title                   string
	Missing                       bool
	Rest                          bool   // all values that are not shown
	Best                          bool   // what tells the sides apart
	Column, Value                 string // to filter by; Value is JSON
	FilterURL                     string
	Selection, Baseline           string // shares as text
	SelectionShare, BaselineShare float64
}

// BubbleBars is a histogram of both sides.
type BubbleBars struct {
	Low, High string
	Bars      []BubbleBar
}

// BubbleBar is one bar: shares of the rows of each side.
type BubbleBar struct {
	Low, High                   string
	Selection, Baseline         float64
	SelectionText, BaselineText string
}

// bubbleWidth is the length of a bar of a share, of 100.
func bubbleWidth(share float64) string {
	if share > 0 {
		share = max(share, 0.01) // a sliver, so that it is seen
	}
	return trimFloat(min(max(share, 0), 1)*100, 1)
}

// bubbleHeight is the height of the picture of a histogram.
const bubbleHeight = 48

// paths draws both sides, each bar at its place in a width of 100, the greatest as
// high as the picture.
func (b *BubbleBars) paths() (selection, baseline string) {
	top := 0.0
	for _, bar := range b.Bars {
		top = max(top, bar.Selection, bar.Baseline)
	}
	if top == 0 {
		return "", ""
	}
	var sel, base strings.Builder
	width := 100 / float64(len(b.Bars))
	one := func(into *strings.Builder, at, share float64) {
		if share > 0 {
			h := max(share/top*bubbleHeight, 1)
			into.WriteString("M" + trimFloat(at, 2) + " " + trimFloat(bubbleHeight-h, 1) + "h" + trimFloat(width*0.4, 2) + "V" + trimFloat(bubbleHeight, 0) + "h" + trimFloat(-width*0.4, 2) + "z")
		}
	}
	for i, bar := range b.Bars {
		at := float64(i) * width
		one(&sel, at+0.08*width, bar.Selection)
		one(&base, at+0.52*width, bar.Baseline)
	}
	return sel.String(), base.String()
}
