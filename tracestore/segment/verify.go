package segment

import (
	"bytes"
	"context"
	"errors"

	"redthread/tracestore/column"
)

// CheckIndex says what is wrong with the sidecar of the segment at path, which
// has so many rows; it makes nothing anew. The error is an fs.ErrNotExist if the
// sidecar is missing.
func CheckIndex(path string, rows int) error {
	x, err := openIndex(IndexPath(path), rows)
	if err != nil {
		return err
	}
	return errors.Join(x.verify(), x.close())
}

// VerifyColumns reads every column, and no sidecar.
func (f *File) VerifyColumns(ctx context.Context) error {
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	for _, b := range blocks {
		b := b.(*block)
		for _, info := range column.FixedColumns() {
			if _, err := b.Column(info.Key, info.Type); err != nil {
				return err
			}
		}
		for _, c := range b.r.layout.Columns {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := b.vector(c.Name, c.Type, 0); err != nil {
				return err
			}
		}
		rare, err := b.rare()
		if err != nil {
			return err
		}
		for i, k := range rare.key {
			if _, err := parseText(rare.keyOf[k].typ, rare.values.At(rare.value[i])); err != nil {
				return b.f.corrupt(err)
			}
		}
	}
	return nil
}

// Verify reads the whole segment and compares it with its sidecar. A sidecar that
// is missing or damaged is made anew; one that is whole and of other rows is a
// *[CorruptError] with its path, and stays.
func (f *File) Verify(ctx context.Context) error {
	if err := f.VerifyColumns(ctx); err != nil {
		return err
	}
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	foreign := false
	err = f.withIndex(func(x *index) error {
		want, err := rebuildIndex(blocks, x.prints)
		if err != nil {
			return err
		}
		got := make([]byte, x.pages.bytes)
		if err := x.read(got, 0); err != nil {
			return err
		}
		foreign = !bytes.Equal(want, got)
		return nil
	})
	if err == nil && foreign {
		err = &CorruptError{Path: IndexPath(f.path), Offset: -1, Err: errIndex}
	}
	return err
}
