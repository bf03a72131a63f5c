package segment

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// edgesFile makes a run with right checksums of what its blocks hold and its
// index and footer say. head overwrites bytes from the index on.
func edgesFile(blocks [][]byte, linkBlocks int, head []byte) []byte {
	var file, index []byte
	for _, b := range blocks {
		packed := edgesEncoder.EncodeAll(b, nil)
		entry := make([]byte, 16, edgesIndexBytes)
		copy(entry, b)
		entry = binary.LittleEndian.AppendUint64(entry, uint64(len(file)))
		entry = binary.LittleEndian.AppendUint32(entry, uint32(len(packed)))
		entry = binary.LittleEndian.AppendUint32(entry, uint32(len(b)/halfBytes))
		index = append(index, binary.LittleEndian.AppendUint32(entry, crc32.Checksum(packed, castagnoli))...)
		file = append(file, packed...)
	}
	from := len(file)
	footer := []byte(edgesMagic)
	for _, n := range []int{edgesVersion, linkBlocks, 0, 0, len(blocks) - linkBlocks, 1, 0, 0, 1} {
		footer = binary.LittleEndian.AppendUint32(footer, uint32(n))
	}
	footer = binary.LittleEndian.AppendUint64(footer, uint64(from))
	rest := append(append([]byte{}, index...), footer...)
	for i, b := range head {
		if i < len(rest) {
			rest[i] ^= b
		}
	}
	index, footer = rest[:len(index)], rest[len(index):]
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(index, castagnoli))
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(footer, castagnoli))
	return append(append(file, index...), footer...)
}

// FuzzEdges reads runs of any content, with right checksums: no panic, no memory
// beyond what a block may take, and no error but a *CorruptError.
func FuzzEdges(f *testing.F) {
	link := appendHalf(nil, &graph.Half{Side: graph.EffectSide, Target: trace.Ref{TraceID: numbered(1), SpanID: trace.SpanID{1}}, Of: trace.Ref{TraceID: numbered(2), SpanID: trace.SpanID{2}}})
	summary := appendSummary(nil, graph.Summary{TraceID: numbered(1), Service: "web", Name: "GET /", StartUnixNano: 5, DurationNano: 7, Spans: 2})
	f.Add(link, summary, []byte{})
	f.Add(append(append([]byte{}, link...), link...), append(append([]byte{}, summary...), summary...), []byte{})
	f.Add(link[:20], summary[:30], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255})
	path := filepath.Join(f.TempDir(), "fuzz.edges")
	f.Fuzz(func(t *testing.T, links, summaries, head []byte) {
		if len(links)+len(summaries) > 64<<10 {
			return
		}
		if err := os.WriteFile(path, edgesFile([][]byte{links, summaries}, 1, head), 0o644); err != nil {
			t.Fatal(err)
		}
		e := OpenEdges(path)
		defer e.Close()
		effects, _, err := e.Effects(numbered(1), 100)
		_, _, summaryErr := e.Summary(numbered(1))
		for _, err := range []error{err, summaryErr, e.Verify(t.Context())} {
			var bad *CorruptError
			if err != nil && !errors.As(err, &bad) {
				t.Fatalf("got %v, want a CorruptError", err)
			}
		}
		if len(effects) > 100 {
			t.Fatalf("%d effects, at most 100 were asked for", len(effects))
		}
	})
}
