package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"redthread/tracestore/column"
)

// picker gathers the values of some rows from pages.
type picker struct {
	def  *Column
	dict *Values
	long bool // ids go to out as they are, to be resolved
	s    *scratch
	keep Keep

	rows []uint32
	out  Values

	lastID uint32 // of the dictionary, whose value is the last in out
	repeat bool   // lastID is valid
}

// Page is a decompressed page, with memory of its own.
type Page struct{ page }

// Bytes is the memory that the page takes.
func (p *Page) Bytes() int64 {
	return int64(cap(p.values)+8*(cap(p.repBits)+cap(p.defBits)+cap(p.ints))) + 256
}

// Keep returns a page that was kept, by where it begins in the file, or has it made.
type Keep func(at int64, load func() (*Page, error)) (*Page, error)

// page returns the page at a place of the file, decompressed: one that is kept, or
// else what unpacked makes.
func (k *picker) page(at int64, unpacked func() (page, error)) (page, error) {
	if k.keep == nil {
		return unpacked()
	}
	kept, err := k.keep(at, func() (*Page, error) {
		raw := k.s.raw
		k.s.raw = nil // what is decompressed goes to the page
		p, err := unpacked()
		fresh := k.s.raw != nil
		k.s.raw = raw
		if err == nil {
			err = k.decode(&p)
		}
		if err != nil {
			return nil, err
		}
		if !fresh {
			p.values = slices.Clone(p.values) // they were not compressed
		}
		p.reps, p.defs = nil, nil
		return &Page{p}, nil
	})
	if err != nil {
		return page{}, err
	}
	return kept.page, nil
}

// decode decodes of a page that is to be kept what would be every time.
func (k *picker) decode(p *page) error {
	switch k.def.Shape {
	case AtMostOne:
		k.s.defs = emptyBits(k.s.defs, p.entries)
		if _, err := decodeBits(k.s.defs, 0, p.entries, p.defs); err != nil {
			return err
		}
		p.defBits = slices.Clone(k.s.defs)
	case Many:
		rows, err := k.s.levels(p)
		if err != nil {
			return err
		}
		p.rows, p.repBits, p.defBits = rows, slices.Clone(k.s.reps), slices.Clone(k.s.defs)
	}
	if k.def.Type == Int64 && p.encoding == Delta {
		n, err := deltaCount(p.values, p.entries)
		if err != nil {
			return err
		}
		p.ints = make([]int64, n)
		if err := decodeDelta(p.ints, p.values); err != nil {
			return err
		}
		p.values = nil
	}
	return nil
}

// take takes the values of those of the rows that are in a page, and returns how many
// rows the page has, the first of which is row first.
func (k *picker) take(p page, first int, rows []uint32) (_ int, err error) {
	total := p.rows
	if k.def.Shape == Many && p.defBits == nil {
		if total, err = k.s.levels(&p); err != nil {
			return 0, err
		}
		p.repBits, p.defBits = k.s.reps, k.s.defs
	}
	rows = rows[:rowsBefore(rows, first+total)]
	if len(rows) == 0 {
		return total, nil
	}
	places := k.s.places[:0]
	switch k.def.Shape {
	case One:
		for _, r := range rows {
			places = append(places, int32(int(r)-first))
		}
		k.rows = append(k.rows, rows...)
	case AtMostOne:
		if places, err = k.present(places, &p, first, rows); err != nil {
			return 0, err
		}
	case Many:
		places = k.many(places, &p, first, rows)
	}
	k.s.places = places
	if len(places) == 0 {
		return total, nil
	}
	return total, k.values(&p, places)
}

// levels reads the levels of a page of a Many column into the scratch and returns
// the page's rows.
func (s *scratch) levels(p *page) (rows int, err error) {
	s.reps, s.defs = emptyBits(s.reps, p.entries), emptyBits(s.defs, p.entries)
	inner, err := decodeBits(s.reps, 0, p.entries, p.reps)
	if err != nil {
		return 0, err
	}
	if _, err := decodeBits(s.defs, 0, p.entries, p.defs); err != nil {
		return 0, err
	}
	if p.entries == 0 || s.reps.Has(0) || p.rows >= 0 && p.rows != p.entries-inner {
		return 0, errors.New("repetition levels do not fit the rows")
	}
	return p.entries - inner, nil
}

// present finds the values of those of the rows that have one.
func (k *picker) present(places []int32, p *page, first int, rows []uint32) ([]int32, error) {
	defs := p.defBits
	if defs == nil {
		n := int(rows[len(rows)-1]) - first + 1
		k.s.defs = emptyBits(k.s.defs, n)
		if _, err := decodeBits(k.s.defs, 0, n, p.defs); err != nil {
			return places, err
		}
		defs = k.s.defs
	}
	word, before := 0, 0
	for _, r := range rows {
		i := int(r) - first
		if !defs.Has(i) {
			continue
		}
		for ; word < i>>6; word++ {
			before += bits.OnesCount64(defs[word])
		}
		places = append(places, int32(before+bits.OnesCount64(defs[word]&(1<<(uint(i)&63)-1))))
		k.rows = append(k.rows, r)
	}
	return places, nil
}

// many finds the values of rows by the levels of a page: a row begins at each zero of
// the repetition levels, a one of the definition levels is a value.
func (k *picker) many(places []int32, p *page, first int, rows []uint32) []int32 {
	entries, reps, defs := p.entries, p.repBits, p.defBits
	entry, begun, value := 0, 0, 0 // rows begun and values before entry
	for _, r := range rows {
		target := int(r) - first
		for entry < entries {
			if entry&63 == 0 && entry+64 <= entries {
				// Words in which the row does not begin are counted.
				if starts := 64 - bits.OnesCount64(reps[entry>>6]); begun+starts <= target {
					begun += starts
					value += bits.OnesCount64(defs[entry>>6])
					entry += 64
					continue
				}
			}
			if !reps.Has(entry) {
				if begun > target {
					break
				}
				begun++
			}
			if defs.Has(entry) {
				if begun > target {
					places = append(places, int32(value))
					k.rows = append(k.rows, r)
				}
				value++
			}
			entry++
		}
	}
	return places
}

// values appends the page's values at places, which ascend.
func (k *picker) values(p *page, places []int32) error {
	last := int(places[len(places)-1])
	if p.encoding == Dictionary || p.encoding == oldDictionary {
		return k.fromDictionary(p, places)
	}
	switch k.def.Type {
	case Boolean:
		src, runs, err := booleans(p.values, p.encoding)
		if err != nil {
			return err
		}
		set := emptyBits(k.s.defs, last+1)
		k.s.defs = set
		if runs {
			if _, err := decodeBits(set, 0, last+1, src); err != nil {
				return err
			}
		} else {
			if 8*len(src) <= last {
				return errPlain
			}
			orBits(set, 0, last+1, src)
		}
		for _, i := range places {
			x := int64(0)
			if set.Has(int(i)) {
				x = 1
			}
			k.out.Ints = append(k.out.Ints, x)
		}
		return nil
	case Int64:
		switch p.encoding {
		case Delta:
			ints := p.ints
			if ints == nil {
				n, err := deltaCount(p.values, p.entries)
				if err != nil {
					return errDelta
				}
				k.s.ints = grow(k.s.ints, n)
				if err := decodeDelta(k.s.ints, p.values); err != nil {
					return err
				}
				ints = k.s.ints
			}
			if last >= len(ints) {
				return errDelta
			}
			for _, i := range places {
				k.out.Ints = append(k.out.Ints, ints[i])
			}
			return nil
		case Plain:
			if len(p.values) < 8*(last+1) {
				return errPlain
			}
			for _, i := range places {
				k.out.Ints = append(k.out.Ints, int64(binary.LittleEndian.Uint64(p.values[8*int(i):])))
			}
			return nil
		}
	case Double:
		if p.encoding == Plain {
			if len(p.values) < 8*(last+1) {
				return errPlain
			}
			for _, i := range places {
				k.out.Floats = append(k.out.Floats, math.Float64frombits(binary.LittleEndian.Uint64(p.values[8*int(i):])))
			}
			return nil
		}
	case Fixed:
		if w := k.def.Width; p.encoding == Plain {
			if len(p.values) < w*(last+1) {
				return errPlain
			}
			for _, i := range places {
				k.out.Fixed = append(k.out.Fixed, p.values[w*int(i):w*int(i)+w]...)
			}
			return nil
		}
	case ByteArray:
		if p.encoding == Plain && !k.long {
			src, at := p.values, 0
			for _, i := range places {
				var text []byte
				for ; at <= int(i); at++ {
					var err error
					if text, src, err = plainText(src); err != nil {
						return err
					}
				}
				if err := k.text(text); err != nil {
					return err
				}
			}
			k.repeat = false
			return nil
		}
	}
	return fmt.Errorf("type %d in encoding %d", k.def.Type, p.encoding)
}

// text appends a byte array.
func (k *picker) text(b []byte) error {
	d := &k.out.Dict
	if len(d.Arena)+len(b) > math.MaxUint32 {
		return column.ErrDictFull
	}
	d.Arena = append(d.Arena, b...)
	d.Ends = append(d.Ends, uint32(len(d.Arena)))
	k.out.IDs = append(k.out.IDs, uint32(len(d.Ends)-1))
	return nil
}

func (k *picker) fromDictionary(p *page, places []int32) error {
	width, runs, err := p.ids()
	if err != nil {
		return err
	}
	if k.long {
		k.out.IDs, err = pickHybrid(k.out.IDs, places, runs, width)
		return err
	}
	if k.dict == nil {
		return errors.New("ids without a dictionary")
	}
	if k.s.ids, err = pickHybrid(k.s.ids[:0], places, runs, width); err != nil {
		return err
	}
	if err := checkIDs(k.s.ids, k.dict.distinct(k.def)); err != nil {
		return err
	}
	for _, id := range k.s.ids {
		switch k.def.Type {
		case Int64:
			k.out.Ints = append(k.out.Ints, k.dict.Ints[id])
		case Double:
			k.out.Floats = append(k.out.Floats, k.dict.Floats[id])
		case Fixed:
			w := k.def.Width
			k.out.Fixed = append(k.out.Fixed, k.dict.Fixed[w*int(id):w*int(id)+w]...)
		case ByteArray:
			if k.repeat && k.lastID == id {
				k.out.IDs = append(k.out.IDs, uint32(len(k.out.Dict.Ends)-1))
				continue
			}
			from := uint32(0)
			if id > 0 {
				from = k.dict.Dict.Ends[id-1]
			}
			if err := k.text(k.dict.Dict.Arena[from:k.dict.Dict.Ends[id]]); err != nil {
				return err
			}
			k.lastID, k.repeat = id, true
		default:
			return fmt.Errorf("dictionary of type %d", k.def.Type)
		}
	}
	return nil
}

// distinct is the number of values of a dictionary.
func (v *Values) distinct(c *Column) int {
	if c.Type == ByteArray {
		return v.Dict.Len()
	}
	return v.size(c)
}
