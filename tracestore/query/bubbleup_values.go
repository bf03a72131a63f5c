package query

import (
	"cmp"
	"slices"
	"strings"

	"redthread/tracestore/trace"
)

// valueTable holds values by the hash of their canonical text. At 64 bits, and a
// seed of the process's own, two values of a column share one never.
type valueTable struct {
	entries []valueEntry
	slots   []uint32 // open addressing: position+1, 0: free; len is a power of two
	text    int      // bytes of the entries' texts
}

type valueEntry struct {
	hash  uint64
	value trace.Value
	count [2]float64
}

func (t *valueTable) bytes() int64 {
	const entryBytes = 64
	return int64(entryBytes*cap(t.entries) + 4*len(t.slots) + t.text)
}

// add counts a value, copying its text if it is new.
func (t *valueTable) add(hash uint64, v trace.Value, count [2]float64) {
	if 4*(len(t.entries)+1) > 3*len(t.slots) {
		t.index(max(16, 2*len(t.slots)))
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if t.slots[i] == 0 {
			v.Str = strings.Clone(v.Str)
			t.text += len(v.Str)
			t.entries = append(t.entries, valueEntry{hash, v, count})
			t.slots[i] = uint32(len(t.entries))
			return
		}
		e := &t.entries[t.slots[i]-1]
		if e.hash == hash {
			e.count[selected] += count[selected]
			e.count[baseline] += count[baseline]
			if rank(v.Type) < rank(e.value.Type) {
				v.Str = strings.Clone(v.Str)
				t.text += len(v.Str) - len(e.value.Str)
				e.value = v
			}
			return
		}
	}
}

func (t *valueTable) index(slots int) {
	t.slots = make([]uint32, slots)
	mask := uint64(slots - 1)
	for n := range t.entries {
		i := t.entries[n].hash & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = uint32(n) + 1
	}
}

// bound drops the rarer half of the values once they are too many.
func (t *valueTable) bound(c *bubbleColumn, r *bubbleRun) {
	for n := len(t.entries); n > r.plan.limits.tableValues || t.text > r.plan.limits.tableBytes && n > 1; n = len(t.entries) {
		slices.SortFunc(t.entries, func(a, b valueEntry) int {
			x, y := a.weight(r), b.weight(r)
			if x != y {
				return cmp.Compare(y, x)
			}
			return strings.Compare(a.value.Text(), b.value.Text())
		})
		var most [2]float64
		for _, e := range t.entries[n/2:] {
			for side := range most {
				most[side] = max(most[side], e.count[side])
			}
		}
		for side := range most {
			c.missed[side] += most[side]
		}
		clear(t.entries[n/2:])
		t.entries, t.text = t.entries[:n/2], 0
		for i := range t.entries {
			t.text += len(t.entries[i].value.Str)
		}
		t.index(len(t.slots))
		c.pruned = true
	}
}

// weight is the sum of the value's shares of both sides.
func (e *valueEntry) weight(r *bubbleRun) float64 {
	return e.count[selected]*r.perRow(selected) + e.count[baseline]*r.perRow(baseline)
}

// perRow is what one row weighs in a share of a side.
func (r *bubbleRun) perRow(side int) float64 {
	if r.total[side].Count == 0 {
		return 0
	}
	return r.scale[side] / r.total[side].Count
}
