package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sort"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// index is the sidecar of a segment, mapped into memory. See the package comment
// for its layout.
type index struct {
	data   mapping
	rows   int
	traces int
	hashes []byte // traces × u32, sorted
	starts []byte // (traces+1) × u32: where in lists the rows of a trace begin
	lists  []byte // per trace: uvarint first row, then uvarint distances
	prints []byte // rows × u32: lower half of the fingerprint
}

const (
	indexMagic       = "rtix"
	indexVersion     = 1
	indexHeaderBytes = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// IndexPath is the path of a segment's sidecar.
func IndexPath(segment string) string { return strings.TrimSuffix(segment, ".parquet") + ".idx" }

// encodeIndex builds the sidecar from the fingerprints of the rows.
func encodeIndex(prints []uint64) []byte {
	order := make([]uint64, len(prints)) // trace hash and row
	for row, p := range prints {
		order[row] = p>>32<<32 | uint64(row)
	}
	slices.Sort(order)
	var hashes, starts, lists []byte
	traces := 0
	for i := 0; i < len(order); {
		hash := order[i] >> 32
		hashes = binary.LittleEndian.AppendUint32(hashes, uint32(hash))
		starts = binary.LittleEndian.AppendUint32(starts, uint32(len(lists)))
		var last uint64
		for ; i < len(order) && order[i]>>32 == hash; i++ {
			row := order[i] & 0xffffffff
			lists = binary.AppendUvarint(lists, row-last)
			last = row
		}
		traces++
	}
	starts = binary.LittleEndian.AppendUint32(starts, uint32(len(lists)))
	out := make([]byte, indexHeaderBytes, indexHeaderBytes+len(hashes)+len(starts)+len(lists)+4*len(prints))
	out = append(append(append(out, hashes...), starts...), lists...)
	for _, p := range prints {
		out = binary.LittleEndian.AppendUint32(out, uint32(p))
	}
	copy(out, indexMagic)
	binary.LittleEndian.PutUint32(out[4:], indexVersion)
	binary.LittleEndian.PutUint32(out[8:], uint32(len(prints)))
	binary.LittleEndian.PutUint32(out[12:], uint32(traces))
	binary.LittleEndian.PutUint32(out[16:], uint32(len(lists)))
	binary.LittleEndian.PutUint32(out[24:], crc32.Checksum(out[indexHeaderBytes:], castagnoli))
	binary.LittleEndian.PutUint32(out[28:], crc32.Checksum(out[:28], castagnoli))
	return out
}

var errIndex = errors.New("index is damaged")

// openIndex maps a sidecar and checks it.
func openIndex(path string, rows int) (*index, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(m, rows)
	if err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

func parseIndex(m mapping, rows int) (*index, error) {
	b := []byte(m)
	if len(b) < indexHeaderBytes || string(b[:4]) != indexMagic || crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
		return nil, errIndex
	}
	if v := binary.LittleEndian.Uint32(b[4:]); v != indexVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", errIndex, v, indexVersion)
	}
	x := &index{data: m, rows: int(binary.LittleEndian.Uint32(b[8:])), traces: int(binary.LittleEndian.Uint32(b[12:]))}
	lists := int(binary.LittleEndian.Uint32(b[16:]))
	want := indexHeaderBytes + 4*x.traces + 4*(x.traces+1) + lists + 4*x.rows
	if x.rows != rows || len(b) != want || crc32.Checksum(b[indexHeaderBytes:], castagnoli) != binary.LittleEndian.Uint32(b[24:]) {
		return nil, errIndex
	}
	b = b[indexHeaderBytes:]
	x.hashes, b = b[:4*x.traces], b[4*x.traces:]
	x.starts, b = b[:4*(x.traces+1)], b[4*(x.traces+1):]
	x.lists, x.prints = b[:lists], b[lists:]
	return x, nil
}

func at32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

// find returns the rows whose trace has this hash, in order: all rows of the
// trace, and rarely those of another one.
func (x *index) find(id trace.ID) []int {
	hash := column.TraceHash(id)
	i := sort.Search(x.traces, func(i int) bool { return at32(x.hashes, i) >= hash })
	if i == x.traces || at32(x.hashes, i) != hash {
		return nil
	}
	return x.list(i)
}

func (x *index) list(i int) []int {
	list := x.lists[at32(x.starts, i):at32(x.starts, i+1)]
	var rows []int
	row := 0
	for len(list) > 0 {
		d, n := binary.Uvarint(list)
		if n <= 0 {
			break
		}
		row += int(d)
		rows = append(rows, row)
		list = list[n:]
	}
	return rows
}

// fingerprints returns the fingerprint of each row.
func (x *index) fingerprints() []uint64 {
	out := make([]uint64, x.rows)
	for i := range x.traces {
		hash := uint64(at32(x.hashes, i)) << 32
		for _, row := range x.list(i) {
			if row < x.rows {
				out[row] = hash | uint64(at32(x.prints, row))
			}
		}
	}
	return out
}

func (x *index) close() { x.data.close() }

// rebuildIndex makes the sidecar's bytes from the rows themselves.
func rebuildIndex(blocks []column.Block) ([]byte, error) {
	var prints []uint64
	const step = 4096
	var rows []int
	var spans []trace.Span
	for _, b := range blocks {
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
				prints = append(prints, column.Fingerprint(&spans[i]))
			}
		}
	}
	return encodeIndex(prints), nil
}

// mapping is a file in memory, read only.
type mapping []byte

func mapFile(path string) (mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, errIndex
	}
	return mapBytes(f, int(info.Size()))
}
