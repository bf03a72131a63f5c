package segment

import (
	"slices"

	"redthread/tracestore/trace"
)

// TraceRows returns the rows of the group that may belong to one of the traces, in
// order, by the sidecar: all that do, and rarely those of a trace whose id has the
// same hash.
func (b *block) TraceRows(ids []trace.ID) ([]int32, error) {
	base := 0
	for _, g := range b.r.layout.Groups[:b.group] {
		base += g.Rows
	}
	n := b.Rows()
	var out []int32
	err := b.f.withGroups(len(b.r.layout.Groups), func(x *index) error {
		out = out[:0]
		for _, id := range ids {
			rows, err := x.find(id)
			if err != nil {
				return err
			}
			from, _ := slices.BinarySearch(rows, base)
			for _, row := range rows[from:] {
				if row >= base+n {
					break
				}
				out = append(out, int32(row-base))
			}
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out), err
}
