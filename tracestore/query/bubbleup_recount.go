package query

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// recounted is a value whose rows are counted anew.
type recounted struct {
	value trace.Value
	count [2]float64
}

// maxCandidates bounds the values of a column that are counted anew.
const maxCandidates = 96

// recount counts the candidates of the pruned columns over all blocks read.
func (r *bubbleRun) recount(ctx context.Context) error {
	var pruned []*bubbleColumn
	for _, c := range r.columns {
		if c.pruned && !c.continuous {
			c.choose(r)
			if len(c.fresh) > 0 {
				pruned = append(pruned, c)
			}
		}
	}
	if len(pruned) == 0 {
		return nil
	}
	slices.SortFunc(pruned, func(a, b *bubbleColumn) int { return strings.Compare(a.name, b.name) })
	scratches := make([]bubbleScratch, r.workers)
	counts := make([][][maxCandidates + 1][2]float64, r.workers)
	finders := make([]*finder, len(pruned))
	for i, c := range pruned {
		finders[i] = newFinder(c.fresh)
	}
	for i := range counts {
		counts[i] = make([][maxCandidates + 1][2]float64, len(pruned))
	}
	err := r.eachRead(ctx, func(worker int, b *bubbleBlock) error {
		s := &scratches[worker]
		v := r.view(b)
		if err := s.start(v, b, r.weighted); err != nil {
			return err
		}
		for i, c := range pruned {
			if err := ctx.Err(); err != nil {
				return err
			}
			vecs, err := v.compared(c.name)
			if err != nil {
				return err
			}
			for _, vec := range vecs {
				s.within(vec)
				finders[i].count(s, vec, &counts[worker][i])
			}
		}
		return nil
	})
	for i, c := range pruned {
		for n := range c.fresh {
			for worker := range counts {
				for side := range c.fresh[n].count {
					c.fresh[n].count[side] += counts[worker][i][n+1][side]
				}
			}
		}
	}
	return err
}

// frequentShare is the least share of a side's rows at which one of very many values is
// worth counting anew.
const frequentShare = 0.01

// choose makes candidates of the values that look most frequent on a side or most
// different between them; of none if surely none is frequent.
func (c *bubbleColumn) choose(r *bubbleRun) {
	type place struct {
		by float64
		at int
	}
	share := func(e *valueEntry, side int) float64 { return e.count[side] * r.perRow(side) }
	most := [2]float64{}
	for i := range c.values.entries {
		for side := range most {
			most[side] = max(most[side], share(&c.values.entries[i], side))
		}
	}
	for side := range most {
		most[side] += c.missed[side] * r.perRow(side)
	}
	if most[selected] < frequentShare && most[baseline] < frequentShare {
		return
	}
	chosen := make(map[int]bool)
	var order []place
	for _, by := range []func(e *valueEntry) float64{
		func(e *valueEntry) float64 { return share(e, selected) },
		func(e *valueEntry) float64 { return share(e, baseline) },
		func(e *valueEntry) float64 { return math.Abs(share(e, selected) - share(e, baseline)) },
	} {
		order = order[:0]
		for i := range c.values.entries {
			order = append(order, place{by(&c.values.entries[i]), i})
		}
		slices.SortFunc(order, func(a, b place) int {
			if a.by != b.by {
				return cmp.Compare(b.by, a.by)
			}
			return strings.Compare(c.values.entries[a.at].value.Text(), c.values.entries[b.at].value.Text())
		})
		for _, p := range order[:min(len(order), maxCandidates/3)] {
			if !chosen[p.at] {
				chosen[p.at] = true
				c.fresh = append(c.fresh, recounted{value: c.values.entries[p.at].value})
			}
		}
	}
}

// finder maps values to candidates, numbered from 1.
type finder struct {
	texts  map[string]uint8
	bytes  map[string]uint8
	ints   map[int64]uint8
	floats map[uint64]uint8
}

func newFinder(list []recounted) *finder {
	f := &finder{make(map[string]uint8), make(map[string]uint8), make(map[int64]uint8), make(map[uint64]uint8)}
	for i, c := range list {
		n, text := uint8(i+1), c.value.Text()
		f.texts[text] = n
		f.bytes[valueOfText(trace.TypeBytes, text).Str] = n
		if x, ok := canonicalInt(text); ok {
			f.ints[x] = n
		}
		if x, err := strconv.ParseFloat(text, 64); err == nil && trace.Float(x).Text() == text {
			f.floats[floatKey(x)] = n
		}
	}
	return f
}

// of is the recounted of a row's value, 0 if it is none.
func (f *finder) of(vec *column.Vector, row int) uint8 {
	switch {
	case vec.Type == trace.TypeBool:
		return f.texts[vec.Value(row).Text()]
	case vec.Ints != nil:
		return f.ints[vec.Ints[row]]
	}
	return f.floats[floatKey(vec.Floats[row])]
}

// count adds the rows of a vector to the candidates.
func (f *finder) count(s *bubbleScratch, vec *column.Vector, counts *[maxCandidates + 1][2]float64) {
	var byID []uint8
	if vec.IDs != nil {
		table := f.texts
		if vec.Type == trace.TypeBytes {
			table = f.bytes
		}
		byID = make([]uint8, vec.Dict.Len())
		for id := range byID {
			byID[id] = table[vec.Dict.At(uint32(id))]
		}
	}
	for side, has := range s.has {
		for w, word := range has {
			for ; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				var n uint8
				if byID != nil {
					n = byID[vec.IDs[row]]
				} else {
					n = f.of(vec, row)
				}
				if s.weights != nil {
					counts[n][side] += s.weights[row]
				} else {
					counts[n][side]++
				}
			}
		}
	}
}
