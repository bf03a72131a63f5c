package parquet

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"redthread/tracestore/column"
)

// TestExample writes the file that the package comment explains.
func TestExample(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, []Column{{Path: []string{"k"}, Type: ByteArray, Shape: AtMostOne}}, Fast)
	if err != nil {
		t.Fatal(err)
	}
	w.Group(3)
	v := Values{IDs: []uint32{0, 1}, Dict: column.Dict{Arena: []byte("abb"), Ends: []uint32{1, 3}}}
	if err := w.Column([]uint32{0, 2}, &v); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join(strings.Fields(`
		50 41 52 31
		15 06 15 1a 15 1a 15 ae b6 eb fe 0f 4c 15 06 15 02 15 06 15 00 15 04 15 00 12 00 00
		03 05 01 00 00 00 61 02 00 00 00 62 62
		19 1c 16 08 15 52 16 00 00 00`), "")
	got := hex.EncodeToString(b.Bytes())
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "7500000050415231") {
		t.Errorf("got  %s\nwant %s…7500000050415231", got, want)
	}
}
