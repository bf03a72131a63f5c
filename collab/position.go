package collab

import "strings"

// positionDigits are the digits of a position in the order in which SQLite's
// BINARY collation and Go compare them.
const positionDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// positionBetween returns a text that sorts after a and before b. Empty a means
// the begin, empty b the end. It needs a < b and gives a text that does not end
// in the lowest digit, so that there is always room before it.
//
// Positions are fractions in base 62 without the leading "0.", as in Figma's
// fractional indexing: moving a block changes that block alone.
func positionBetween(a, b string) string {
	var out strings.Builder
	for i := 0; ; i++ {
		lo, hi := 0, len(positionDigits)
		if i < len(a) {
			lo = strings.IndexByte(positionDigits, a[i])
		}
		if b != "" && i < len(b) {
			hi = strings.IndexByte(positionDigits, b[i])
		}
		switch {
		case hi-lo > 1:
			// At the open end take the next digit rather than the middle: blocks
			// are mostly added last, and so their positions stay short.
			mid := (lo + hi) / 2
			if b == "" && i < len(a) {
				mid = lo + 1
			}
			out.WriteByte(positionDigits[mid])
			return out.String()
		case hi == lo:
			out.WriteByte(positionDigits[lo])
		default: // hi-lo is 1: take a's digit, then anything above the rest of a
			out.WriteByte(positionDigits[lo])
			b = ""
		}
	}
}
