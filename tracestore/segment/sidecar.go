package segment

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// printRows: segments of fewer rows keep the fingerprints of their rows. They are
// young or will be merged; larger ones are neither, and 8 bytes a row are an
// eighth of a segment.
const printRows = 512 << 10

// rebuildCacheBytes is what may be kept of the columns that are read for a new
// sidecar, each once.
const rebuildCacheBytes = 16 << 20

// withIndex calls fn with the sidecar. When that is lost, or damaged (fn returns
// an errIndex), it is made anew and fn called again.
func (f *File) withIndex(fn func(*index) error) error {
	x, err := f.sidecar(nil)
	if err != nil {
		return err
	}
	if err = fn(x); !errors.Is(err, errIndex) {
		return err
	}
	if x, err = f.sidecar(x); err != nil {
		return err
	}
	return fn(x)
}

// withGroups is withIndex for who knows the row groups of the segment: a sidecar of
// others is damaged.
func (f *File) withGroups(groups int, fn func(*index) error) error {
	return f.withIndex(func(x *index) error {
		if x.groups != groups {
			return errIndex
		}
		return fn(x)
	})
}

// sidecar returns the index, made anew if it is lost or damaged. bad is one that
// turned out to be damaged.
func (f *File) sidecar(bad *index) (*index, error) {
	f.indexMu.Lock()
	defer f.indexMu.Unlock()
	if n := len(f.indexes); n > 0 && f.indexes[n-1] != bad {
		return f.indexes[n-1], nil
	}
	if bad == nil {
		x, err := openIndex(IndexPath(f.path), f.rows)
		if err == nil {
			f.indexes = append(f.indexes, x)
			return x, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errIndex) {
			return nil, fmt.Errorf("segment: %w", err)
		}
	}
	x, err := f.newIndex()
	if err != nil {
		return nil, err
	}
	f.cache.forget(f.id) // column records of the one before
	f.indexes = append(f.indexes, x)
	return x, nil
}

// newIndex makes the sidecar from the rows. Where it cannot be written (the disk
// is full, or read-only) it stays in memory.
func (f *File) newIndex() (*index, error) {
	apart := Open(f.path, f.rows, NewCache(rebuildCacheBytes))
	defer apart.Close()
	blocks, err := apart.Blocks()
	if err != nil {
		return nil, err
	}
	payload, err := rebuildIndex(blocks, f.rows < printRows)
	if err != nil {
		return nil, err
	}
	path := IndexPath(f.path)
	_, err = writeFile(path, nil, func(w *bufio.Writer) error { return writePages(w, payload) })
	if err == nil {
		if x, err := openIndex(path, f.rows); err == nil {
			return x, nil
		}
	}
	var file bytes.Buffer
	if err := writePages(&file, payload); err != nil {
		return nil, err
	}
	return parseIndex(bytes.NewReader(file.Bytes()), int64(file.Len()), f.rows)
}

// rebuildIndex makes the payload of a sidecar from the rows themselves, with
// their fingerprints or without.
func rebuildIndex(blocks []column.Block, prints bool) ([]byte, error) {
	rows := make([]int, len(blocks))
	for i, b := range blocks {
		rows[i] = b.Rows()
	}
	x := newIndexBuilder(rows)
	var all []uint64
	for i, b := range blocks {
		if err := x.seeBlock(i, b.(*block)); err != nil {
			return nil, err
		}
		if prints {
			var err error
			if all, err = appendPrints(all, b); err != nil {
				return nil, err
			}
		}
	}
	return x.build(all)
}

// seeBlock takes in a row group of a file.
func (b *indexBuilder) seeBlock(group int, from *block) error {
	see := func(key string, t trace.Type, name string) error {
		v, err := from.vector(name, t, fixedWidth(name))
		if err == nil {
			b.see(group, key, t, v)
		}
		return err
	}
	for _, info := range column.FixedColumns() {
		if err := see(info.Key, info.Type, info.Key); err != nil {
			return err
		}
	}
	for _, c := range from.r.layout.Columns {
		if _, hidden := column.FixedType(c.Key); hidden || c.Rows[group] == 0 {
			continue
		}
		if err := see(c.Key, c.Type, c.Name); err != nil {
			return err
		}
	}
	rare, err := from.rare()
	if err != nil {
		return err
	}
	for i, id := range rare.key {
		if key := rare.keyOf[id].key; !hiddenKey(key) {
			b.rare[group] = append(b.rare[group], rareHash(key, rare.values.At(rare.value[i])))
		}
	}
	return nil
}

func hiddenKey(key string) bool {
	_, hidden := column.FixedType(key)
	return hidden
}

// appendPrints computes the fingerprints of a block's rows.
func appendPrints(dst []uint64, b column.Block) ([]uint64, error) {
	const step = 4096
	rows := make([]int, 0, step)
	var spans []trace.Span
	for from := 0; from < b.Rows(); from += step {
		rows = rows[:0]
		for r := from; r < min(from+step, b.Rows()); r++ {
			rows = append(rows, r)
		}
		var err error
		if spans, err = b.Spans(rows, spans[:0]); err != nil {
			return nil, err
		}
		for i := range spans {
			dst = append(dst, column.RowHash(&spans[i]))
		}
	}
	return dst, nil
}

// Fingerprints returns the fingerprint of each row, nil if the segment keeps none:
// those of 512 k rows and more do not.
func (f *File) Fingerprints() (prints []uint64, err error) {
	err = f.withIndex(func(x *index) error {
		prints, err = x.fingerprints()
		return err
	})
	return prints, err
}

// Stats returns what the sidecar knows of a column.
func (b *block) Stats(key string, t trace.Type) (s column.Stats, ok bool) {
	err := b.f.withGroups(len(b.r.layout.Groups), func(x *index) error {
		records, err := x.records(b.f.cache, b.f.id, key)
		for _, c := range records {
			if g := &c.groups[b.group]; c.typ == t && g.here {
				s, ok = g.Stats, true
			}
		}
		return err
	})
	return s, ok && err == nil
}

// MayHave asks the sidecar. Where that cannot be read, a row may have the value.
func (b *block) MayHave(key string, hash uint64) bool {
	if _, taken := column.TakenKey(key); taken || key == column.SpanID || key == column.ParentID {
		return true
	}
	var may bool
	err := b.f.withGroups(len(b.r.layout.Groups), func(x *index) error {
		records, err := x.records(b.f.cache, b.f.id, key)
		if err != nil {
			return err
		}
		// The overflow's own record has the key of an attribute without a name.
		if may, err = x.mayHave(records, b.group, hash, trace.TypeString, trace.TypeJSON); err != nil || may || hiddenKey(key) {
			return err
		}
		if records, err = x.records(b.f.cache, b.f.id, overflowKey.key); err != nil {
			return err
		}
		may, err = x.mayHave(records, b.group, rareTextHash(key, hash), overflowKey.typ, overflowKey.typ)
		return err
	})
	return may || err != nil
}
