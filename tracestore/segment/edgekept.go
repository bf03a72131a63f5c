package segment

import (
	"sync/atomic"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// What summaries keep in a block of traces: the digits of values apart from the rest
// of the text, its form, of which there are few. The forms of all values of a trace
// are its shape. Digits are bits: of a value with no digit above 9 three in ten,
// else hexadecimal ones in four each. A value with no digit up to 9 has none.

const (
	hexDigits   = "0123456789abcdef"
	digitMark   = 0 // a digit in a form
	digitEscape = 1 // the next byte stands for itself
)

// hexValue is the value of each byte as a digit, plus one; 0: it is none.
var hexValue = func() (out [256]byte) {
	for i := range hexDigits {
		out[hexDigits[i]] = byte(i) + 1
	}
	return out
}()

// digitBits is how many bits up to three decimal digits take.
var digitBits = [...]int{0, 4, 7, 10}

// keptForm is the form of a value.
type keptForm struct {
	key     string
	form    string
	decimal bool
	digits  int
}

// bits is how many bits the digits take.
func (f *keptForm) bits() int {
	if f.decimal {
		return f.digits/3*10 + digitBits[f.digits%3]
	}
	return 4 * f.digits
}

// keptBlock is what the traces of a block keep. Texts are made when they are asked
// for, of all traces at once if those of many are.
type keptBlock struct {
	shapes [][]keptForm // from 1 on
	sizes  []uint32     // bits of the digits of each shape
	of     []uint16     // by trace
	from   []uint32     // by trace, where its digits begin
	digits []byte
	uses   atomic.Int32
	made   atomic.Pointer[[][]trace.Attribute]
}

// keptUses is after how many questions all texts of a block are made.
const keptUses = 32

// readShapes reads the shapes of a block.
func (k *keptBlock) readShapes(r *colReader, keys []string) {
	k.shapes = make([][]keptForm, 1, 1+r.count(min(edgesBlockItems, len(r.rest))))
	for range cap(k.shapes) - 1 {
		shape := make([]keptForm, r.count(maxKept))
		for i := range shape {
			key := r.count(2*len(keys) - 1)
			if r.bad {
				return
			}
			f := &shape[i]
			f.key, f.decimal, f.form = keys[key>>1], key&1 != 0, r.text(2*graph.MaxKeptBytes)
			for at := 0; at < len(f.form); at++ {
				switch f.form[at] {
				case digitMark:
					f.digits++
				case digitEscape:
					if at++; at == len(f.form) {
						r.bad = true
					}
				}
			}
		}
		k.shapes = append(k.shapes, shape)
	}
}

// place finds where the digits of each trace are, given the number of its shape.
func (k *keptBlock) place(shapes *colReader, n int) {
	k.sizes = make([]uint32, len(k.shapes))
	for i, shape := range k.shapes {
		for f := range shape {
			k.sizes[i] += uint32(shape[f].bits())
		}
	}
	k.of, k.from = make([]uint16, n), make([]uint32, n)
	at := 0
	for i := range k.of {
		s := shapes.count(len(k.shapes) - 1)
		k.of[i], k.from[i] = uint16(s), uint32(at)
		at += int(k.sizes[s])
	}
	if (at+7)/8 != len(k.digits) {
		shapes.bad = true
	}
}

// bytes is about how much memory all of it takes, with the texts.
func (k *keptBlock) bytes() int64 {
	n := int64(len(k.of))*6 + int64(len(k.digits))
	sizes := make([]int64, len(k.shapes))
	for i, shape := range k.shapes {
		for f := range shape {
			sizes[i] += 80 + int64(len(shape[f].form))
			n += 64 + int64(len(shape[f].form))
		}
	}
	for _, s := range k.of {
		n += sizes[s] + 24
	}
	return n
}

// count is how many values a trace keeps.
func (k *keptBlock) count(i int) int { return len(k.shapes[k.of[i]]) }

// list is what a trace keeps. It must not be changed.
func (k *keptBlock) list(i int) []trace.Attribute {
	if k.of[i] == 0 {
		return nil
	}
	if made := k.made.Load(); made != nil {
		return (*made)[i]
	}
	if k.uses.Add(1) > keptUses {
		return k.all()[i]
	}
	out, text := make([]trace.Attribute, 0, k.count(i)), make([]byte, 0, 128)
	return k.append(out, &text, i, nil)
}

// all makes the texts of all traces.
func (k *keptBlock) all() [][]trace.Attribute {
	made := make([][]trace.Attribute, len(k.of))
	n := 0
	for i := range k.of {
		n += k.count(i)
	}
	all := make([]trace.Attribute, 0, n)
	ends := make([]int, 0, n)
	text := make([]byte, 0, 4*len(k.digits))
	for i := range k.of {
		from := len(all)
		all = k.append(all, &text, i, &ends)
		made[i] = all[from:len(all):len(all)]
	}
	whole, from := string(text), 0
	for i := range all {
		all[i].Value = trace.String(whole[from:ends[i]])
		from = ends[i]
	}
	k.made.Store(&made)
	return made
}

// append appends what trace i keeps. With ends it leaves the values to who asks, and
// says where each ends in text.
func (k *keptBlock) append(out []trace.Attribute, text *[]byte, i int, ends *[]int) []trace.Attribute {
	r := bitReader{b: k.digits, at: int(k.from[i])}
	shape := k.shapes[k.of[i]]
	for n := range shape {
		from := len(*text)
		*text = shape[n].text(*text, &r)
		a := trace.Attribute{Key: shape[n].key}
		if ends != nil {
			*ends = append(*ends, len(*text))
		} else {
			a.Value = trace.String(string((*text)[from:]))
		}
		out = append(out, a)
	}
	return out
}

// value appends the text of value n of trace i.
func (k *keptBlock) value(dst []byte, i, n int) []byte {
	shape := k.shapes[k.of[i]]
	at := int(k.from[i])
	for f := range shape[:n] {
		at += shape[f].bits()
	}
	return shape[n].text(dst, &bitReader{b: k.digits, at: at})
}

// text appends the text of a value, whose digits are next.
func (f *keptForm) text(dst []byte, r *bitReader) []byte {
	var group [3]byte
	have, left := 0, f.digits
	for at := 0; at < len(f.form); at++ {
		ch := f.form[at]
		switch {
		case ch == digitEscape:
			at++
			ch = f.form[at]
		case ch == digitMark && !f.decimal:
			ch = hexDigits[r.take(4)]
		case ch == digitMark:
			if have == 0 {
				have = min(3, left)
				left -= have
				v := r.take(digitBits[have])
				for d := have - 1; d >= 0; d-- {
					group[d] = '0' + byte(v%10)
					v /= 10
				}
				copy(group[3-have:], group[:have])
			}
			ch = group[3-have]
			have--
		}
		dst = append(dst, ch)
	}
	return dst
}
