package segment

import (
	"bytes"
	"context"
)

// CheckIndex says what is wrong with the sidecar of the segment at path, which
// has so many rows; it makes nothing anew. The error is an fs.ErrNotExist if the
// sidecar is missing.
func CheckIndex(path string, rows int) error {
	x, err := openIndex(IndexPath(path), rows)
	if err != nil {
		return err
	}
	x.close()
	return nil
}

// VerifyColumns reads every column, and no sidecar.
func (f *File) VerifyColumns(ctx context.Context) error {
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	for _, b := range blocks {
		for _, info := range b.Columns() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := b.Column(info.Key, info.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// Verify reads the whole segment and compares it with its sidecar, which is made
// anew if it is missing or damaged.
func (f *File) Verify(ctx context.Context) error {
	if err := f.VerifyColumns(ctx); err != nil {
		return err
	}
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	want, err := rebuildIndex(blocks)
	if err != nil {
		return err
	}
	x, err := f.sidecar()
	if err != nil {
		return err
	}
	if !bytes.Equal(want, x.data) {
		return &CorruptError{Path: IndexPath(f.path), Offset: -1, Err: errIndex}
	}
	return nil
}
