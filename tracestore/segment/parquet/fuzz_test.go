package parquet

import (
	"bytes"
	"math/rand/v2"
	"testing"

	oracle "github.com/parquet-go/parquet-go"
)

// foreign is a row of a file that parquet-go writes.
type foreign struct {
	Name  string   `parquet:"name,dict,zstd"`
	Text  string   `parquet:"text,plain,zstd"`
	Maybe *string  `parquet:"maybe,optional,dict"`
	Int   int64    `parquet:"int,delta"`
	Num   int64    `parquet:"num,optional,zstd"`
	Float float64  `parquet:"float,zstd"`
	Bool  bool     `parquet:"bool"`
	ID    [16]byte `parquet:"id"`
	Tags  []string `parquet:"tags,list,zstd" parquet-element:",plain"`
}

func foreignFile(t testing.TB, seed uint64, rows, version int) ([]byte, []foreign) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	words := []string{"", "a", "web", "a longer word than the others"}
	out := make([]foreign, rows)
	for i := range out {
		f := &out[i]
		f.Name, f.Text = words[rng.IntN(4)], words[rng.IntN(4)]
		f.Int, f.Num, f.Float, f.Bool = rng.Int64(), rng.Int64N(3), rng.NormFloat64(), rng.IntN(2) == 0
		f.ID[3] = byte(i)
		if rng.IntN(2) == 0 {
			f.Maybe = &words[rng.IntN(4)]
		}
		for range rng.IntN(3) {
			f.Tags = append(f.Tags, words[rng.IntN(4)])
		}
	}
	var b bytes.Buffer
	w := oracle.NewGenericWriter[foreign](&b, oracle.DataPageVersion(version), oracle.PageBufferSize(2000), oracle.MaxRowsPerRowGroup(int64(rows/2+1)))
	if _, err := w.Write(out); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), out
}

// TestForeign reads what parquet-go wrote.
func TestForeign(t *testing.T) {
	for version := 1; version <= 2; version++ {
		b, want := foreignFile(t, 7, 3000, version)
		f, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		column := map[string]int{}
		for i, c := range f.Columns() {
			column[c.Path[0]] = i
		}
		first := 0
		for g, rows := range f.Groups() {
			flat := func(name string) Values {
				t.Helper()
				present, v, err := f.Chunk(g, column[name]).Flat()
				if err != nil {
					t.Fatal(err)
				}
				if name != "maybe" && name != "num" && present != nil {
					t.Fatalf("%s has nulls", name)
				}
				return v
			}
			name, text, ints, floats, bools, ids := flat("name"), flat("text"), flat("int"), flat("float"), flat("bool"), flat("id")
			present, maybe, err := f.Chunk(g, column["maybe"]).Flat()
			if err != nil {
				t.Fatal(err)
			}
			numbered, num, err := f.Chunk(g, column["num"]).Flat()
			if err != nil {
				t.Fatal(err)
			}
			tagged, tags, err := f.Chunk(g, column["tags"]).Many()
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				w := &want[first+i]
				if name.Dict.At(name.IDs[i]) != w.Name || text.Dict.At(text.IDs[i]) != w.Text || ints.Ints[i] != w.Int ||
					floats.Floats[i] != w.Float || bools.Ints[i] == 1 != w.Bool || [16]byte(ids.Fixed[16*i:]) != w.ID {
					t.Fatalf("version %d, row %d: not %+v", version, first+i, *w)
				}
				if has := present.Has(i); has != (w.Maybe != nil) || has && maybe.Dict.At(maybe.IDs[i]) != *w.Maybe {
					t.Fatalf("version %d, row %d: maybe %v, want %v", version, first+i, has, w.Maybe)
				}
				if has := numbered == nil || numbered.Has(i); has != (w.Num != 0) || num.Ints[i] != w.Num {
					t.Fatalf("version %d, row %d: num %d (%v), want %d", version, first+i, num.Ints[i], has, w.Num)
				}
				for _, tag := range w.Tags {
					if len(tagged) == 0 || int(tagged[0]) != i || tags.Dict.At(tags.IDs[0]) != tag {
						t.Fatalf("version %d, row %d: no tag %q", version, first+i, tag)
					}
					tagged, tags.IDs = tagged[1:], tags.IDs[1:]
				}
			}
			first += rows
		}
		if first != len(want) {
			t.Fatalf("%d rows, want %d", first, len(want))
		}
	}
}

// readAll reads a file in every way there is.
func readAll(b []byte) {
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	for g, rows := range f.Groups() {
		for i := range f.Columns() {
			c := f.Chunk(g, i)
			_, _ = c.Size()
			if f.Columns()[i].Shape == Many {
				_, _, _ = c.Many()
			} else {
				_, _, _ = c.Flat()
			}
			if h, err := c.Head(); err == nil && rows > 0 {
				keep := keeper()
				_, _, _ = c.At([]uint32{0}, h, keep)
				_, _, _ = c.At([]uint32{uint32(rows / 2), uint32(rows - 1)}, h, keep)
				_, _, _ = c.At([]uint32{uint32(rows - 1)}, h, nil)
			}
		}
	}
}

// smallFiles are small files of many kinds.
func smallFiles(t testing.TB) (out [][]byte) {
	for i := range uint64(6) {
		rng := rand.New(rand.NewPCG(i, 3))
		groups := []int{1 + rng.IntN(20), 1 + rng.IntN(40)}[:1+i%2]
		out = append(out, writeSamples(t, randomSamples(rng, groups), groups, Fast))
	}
	for version := 1; version <= 2; version++ {
		b, _ := foreignFile(t, 3, 40, version)
		out = append(out, b)
	}
	return out
}

// FuzzFile wants no panic and no memory without bound of any bytes.
func FuzzFile(f *testing.F) {
	for _, b := range smallFiles(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		readAll(b)
	})
}

// FuzzFooter gives the bytes to the footer's parser, which a whole file's checksum
// keeps a fuzzer away from.
func FuzzFooter(f *testing.F) {
	for _, b := range smallFiles(f) {
		n := int(b[len(b)-8]) | int(b[len(b)-7])<<8 | int(b[len(b)-6])<<16
		f.Add(b[len(b)-8-n : len(b)-8])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		if foot, err := parseFooter(b, 1<<40); err == nil && len(foot.chunks) != len(foot.rows)*len(foot.columns) {
			t.Fatalf("%d chunks of %d row groups and %d columns", len(foot.chunks), len(foot.rows), len(foot.columns))
		}
		_, _, _ = readHeader(b)
	})
}

// TestDamage flips bytes of whole files: reading says so or gives an answer.
func TestDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, whole := range smallFiles(t) {
		for range 300 {
			b := bytes.Clone(whole)
			for range 1 + rng.IntN(4) {
				b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
			}
			readAll(b)
			readAll(b[:rng.IntN(len(b))])
		}
	}
}

// decodePage decodes bytes as a data page in both ways: damage in a whole file
// stops at the page's checksum.
func decodePage(typ Type, shape Shape, encoding Encoding, codec uint8, entries, rows uint16, levels uint8, body []byte) {
	def := &Column{Path: []string{"c"}, Type: typ, Shape: shape, Width: 8}
	s := new(scratch)
	h := pageHeader{typ: pageDataV2, raw: 4 * len(body), packed: len(body), entries: int(entries), encoding: encoding, rows: int(rows), compressed: codec == codecZstd}
	if codec == codecNone {
		h.raw = len(body)
	}
	if shape != One {
		h.defBytes = min(int(levels), len(body))
	}
	if shape == Many {
		h.repBytes = min(int(levels), len(body)-h.defBytes)
	} else {
		h.rows = h.entries
	}
	h.raw = max(h.raw, h.defBytes+h.repBytes)
	p, err := s.data(def, codec, &h, body)
	if err != nil {
		return
	}
	dict := &Values{Ints: make([]int64, 5), Floats: make([]float64, 5), Fixed: make([]byte, 40)}
	dict.Dict.Ends = make([]uint32, 5)
	if typ == ByteArray {
		dict.Ints = nil
	}
	f := flat{def: def, s: s, dict: dict}
	n := p.entries
	if shape != One {
		n = int(rows)
	}
	_ = f.append(&p, n)
	for _, long := range []bool{false, true} {
		k := picker{def: def, s: s, dict: dict, long: long}
		if p, err := s.data(def, codec, &h, body); err == nil {
			_, _ = k.take(p, 0, []uint32{0, 1, 7, 500})
		}
	}
}

// FuzzPage decodes bytes as a data page of any type and encoding.
func FuzzPage(f *testing.F) {
	types := []Type{Boolean, Int64, Double, ByteArray, Fixed}
	encodings := []Encoding{Plain, RLE, Delta, Dictionary}
	for t := range types {
		for e := range encodings {
			f.Add(uint8(t), uint8(t+e), uint8(e), uint16(8), uint16(8), uint8(2), []byte{2, 3, 0xff, 4, 8, 0, 0, 0, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8})
		}
	}
	f.Add(uint8(1), uint8(0), uint8(2), uint16(5), uint16(5), uint8(0), appendDelta(nil, []int64{1, 5, -9, 1 << 60, 3}))
	f.Fuzz(func(t *testing.T, typ, shape, encoding uint8, entries, rows uint16, levels uint8, body []byte) {
		codec := uint8(codecNone)
		if shape >= 128 {
			codec = codecZstd
		}
		decodePage(types[typ%5], Shape(shape%3), encodings[encoding%4], codec, entries, rows, levels, body)
	})
}

// FuzzDictionary resolves ids in the bytes of a long dictionary.
func FuzzDictionary(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		b := make([]byte, rng.IntN(100))
		for i := range b {
			b[i] = byte(rng.IntN(256))
		}
		f.Add(b, uint16(rng.IntN(20)), uint16(rng.IntN(20)))
	}
	f.Fuzz(func(t *testing.T, body []byte, entries, id uint16) {
		w := thriftWriter{}
		w.i32(1, pageDictionary)
		w.i32(2, int64(64<<10))
		w.i32(3, int64(len(body)))
		outer := w.begin(7)
		w.i32(1, int64(entries))
		w.i32(2, int64(Plain))
		w.end(outer)
		b := append(append(w.b, thriftStop), body...)
		file := &File{r: bytes.NewReader(b), footer: footer{
			columns: []Column{{Path: []string{"c"}, Type: ByteArray}}, rows: []int{10},
			chunks: []chunk{{size: int32(len(b)), codec: codecZstd, dict: true}},
		}}
		s := new(scratch)
		k := picker{def: &file.columns[0], s: s, long: true, out: Values{IDs: []uint32{uint32(id), 0, 3}}}
		if file.Chunk(0, 0).resolve(&k, len(b)) == nil {
			for _, at := range k.out.IDs {
				_ = k.out.Dict.At(at)
			}
		}
	})
}
