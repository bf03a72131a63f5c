package trace

import (
	"math"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{String("a"), "a"},
		{Int(-5), "-5"},
		{Int(math.MaxInt64), "9223372036854775807"},
		{Float(500), "500"},
		{Float(1e6), "1000000"},
		{Float(1.5e9), "1500000000"},
		{Float(0.25), "0.25"},
		{Float(math.Copysign(0, -1)), "0"},
		{Float(1e21), "1e+21"},
		{Float(1e-7), "1e-07"},
		{Float(math.Inf(-1)), "-Inf"},
		{Float(math.NaN()), "NaN"},
		{Bool(true), "true"},
		{Bytes("\x01\x02"), "AQI="},
		{JSON(`["a"]`), `["a"]`},
		{Value{}, ""},
	} {
		if got := c.v.Text(); got != c.want {
			t.Errorf("%v %#v: Text() = %q, want %q", c.v.Type, c.v, got, c.want)
		}
	}
}

func TestMarshalJSON(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{String("a<b>&"), `"a<b>&"`},
		{Int(1 << 53), `9007199254740992`},
		{Int(1<<53 + 1), `{"int":"9007199254740993"}`},
		{Float(1.5), `1.5`},
		{Float(math.NaN()), `{"float":"NaN"}`},
		{Float(math.Inf(-1)), `{"float":"-Infinity"}`},
		{Bool(false), `false`},
		{Bytes("\x01\x02"), `{"bytes":"AQI="}`},
		{JSON(`{"a":[1]}`), `{"a":[1]}`},
		{JSON(`{"a":`), `"{\"a\":"`},
		{Value{}, `null`},
	} {
		got, err := c.v.MarshalJSON()
		if err != nil || string(got) != c.want {
			t.Errorf("%#v: MarshalJSON() = %s, %v, want %s", c.v, got, err, c.want)
		}
	}
}
