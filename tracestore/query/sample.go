package query

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// rateColumns hold a row's sample rate, the first that a row has: the attributes
// in the order that Honeycomb reads them, then the trace state.
var rateColumns = []string{"sampleRate", "SampleRate"}

// weightReader reads how many rows each row of a block stands for.
type weightReader struct {
	vecs   []*column.Vector
	states int         // position in vecs of the first trace state
	memos  [][]float64 // by vector: the rate of each dictionary value, 0: not read yet
	out    []float64
}

// open sets the reader to a block.
func (r *weightReader) open(v *view) error {
	r.vecs = nil
	for _, name := range rateColumns {
		more, err := v.vectors(name)
		if err != nil {
			return err
		}
		r.vecs = appendAbsent(r.vecs, more, v.rows)
	}
	r.states = len(r.vecs)
	states, err := v.vectors(column.TraceState)
	if err != nil {
		return err
	}
	if len(states) == 1 && len(states[0].IDs) > 0 && !anyThreshold(states[0].Dict) {
		states = nil
	}
	r.vecs = appendAbsent(r.vecs, states, v.rows)
	r.memos = make([][]float64, len(r.vecs))
	for i, vec := range r.vecs {
		if vec.IDs != nil {
			r.memos[i] = make([]float64, vec.Dict.Len())
		}
	}
	return nil
}

// anyThreshold reports whether one of the trace states may say a sampling
// threshold.
func anyThreshold(d column.Dict) bool { return bytes.Contains(d.Arena, []byte("th:")) }

// read returns the weight of each row; nil: all are 1. The slice is valid until
// the next call.
func (r *weightReader) read(s rowSet) []float64 {
	var weights []float64
	for n, vec := range r.vecs {
		for i := range s.len() {
			row := s.from + i
			if s.rows != nil {
				row = int(s.rows[i])
			}
			if !vec.Has(row) {
				continue
			}
			w := r.rate(n, row)
			if w == 1 {
				continue
			}
			if weights == nil {
				r.out = resize(r.out, s.len())
				weights = r.out
				for j := range weights {
					weights[j] = 1
				}
			}
			weights[i] = w
		}
	}
	return weights
}

func (r *weightReader) rate(n, row int) float64 {
	vec := r.vecs[n]
	if vec.IDs == nil {
		return rateOf(vec.Value(row))
	}
	id := vec.IDs[row]
	w := r.memos[n][id]
	if w == 0 {
		if n >= r.states {
			w = stateRate(vec.Dict.At(id))
		} else {
			w = rateOf(vec.Value(row))
		}
		r.memos[n][id] = w
	}
	return w
}

// sampleRates returns the weight of each of the rows, how many rows it stands
// for; nil if all are 1. The slice is kept in *buf for the next call.
func sampleRates(v *view, rows []int32, buf *[]float64) ([]float64, error) {
	r := weightReader{out: *buf}
	if err := r.open(v); err != nil {
		return nil, err
	}
	weights := r.read(rowSet{rows: rows})
	*buf = r.out
	return weights, nil
}

// rateOf reads a SampleRate attribute as Honeycomb's husky does: floats and
// numeric text are rounded, nothing below 1, at most the largest int32.
func rateOf(v trace.Value) float64 {
	f, ok := number(v)
	if !ok {
		return 1
	}
	return min(max(math.Round(f), 1), math.MaxInt32)
}

// stateRate reads the threshold of consistent probability sampling,
// "ot=th:c8;…", in a trace state: up to 14 hex digits, of 2^56, that were
// dropped (OpenTelemetry specification, "TraceState: Probability Sampling").
func stateRate(state string) float64 {
	for member := range strings.SplitSeq(state, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(value, ";") {
			digits, ok := strings.CutPrefix(part, "th:")
			if !ok || len(digits) == 0 || len(digits) > 14 {
				continue
			}
			t, err := strconv.ParseUint(digits+strings.Repeat("0", 14-len(digits)), 16, 64)
			if err != nil {
				return 1
			}
			return min(math.Ldexp(1, 56)/(math.Ldexp(1, 56)-float64(t)), math.MaxInt32)
		}
	}
	return 1
}

// rowsOf lists the set bits.
func rowsOf(sel column.Bitmap, into []int32) []int32 {
	for w, word := range sel {
		for ; word != 0; word &= word - 1 {
			into = append(into, int32(w<<6|bits.TrailingZeros64(word)))
		}
	}
	return into
}
