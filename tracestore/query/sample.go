package query

import (
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

// sampleRates returns the weight of each row, how many rows it stands for; nil
// if all are 1. The slice is kept in *buf for the next call.
func sampleRates(v *view, rows []int32, buf *[]float64) ([]float64, error) {
	var weights []float64
	set := func(i int, w float64) {
		if w == 1 {
			return
		}
		if weights == nil {
			weights = resize(*buf, len(rows))
			for j := range weights {
				weights[j] = 1
			}
			*buf = weights
		}
		weights[i] = w
	}
	var vecs []*column.Vector
	for _, name := range rateColumns {
		more, err := v.vectors(name)
		if err != nil {
			return nil, err
		}
		vecs = appendAbsent(vecs, more, v.rows)
	}
	states, err := v.vectors(column.TraceState)
	if err != nil {
		return nil, err
	}
	for n, vec := range appendAbsent(vecs, states, v.rows) {
		rate := rowRate(vec, n >= len(vecs))
		for i, row := range rows {
			if vec.Has(int(row)) {
				set(i, rate(int(row)))
			}
		}
	}
	return weights, nil
}

func rowRate(vec *column.Vector, state bool) func(row int) float64 {
	if vec.IDs == nil {
		return func(row int) float64 { return rateOf(vec.Value(row)) }
	}
	memo := make([]float64, vec.Dict.Len())
	return func(row int) float64 {
		id := vec.IDs[row]
		if memo[id] == 0 {
			if state {
				memo[id] = stateRate(vec.Dict.At(id))
			} else {
				memo[id] = rateOf(vec.Value(row))
			}
		}
		return memo[id]
	}
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
