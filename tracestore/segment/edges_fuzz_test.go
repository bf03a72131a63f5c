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

// plainBlock is a block of n columns without their compression.
func plainBlock(t testing.TB, block []byte, n int) (out []byte) {
	if err := decodeColumns(block, n, func(c []colReader) error {
		cols := make([]col, n)
		for i := range c {
			cols[i] = c[i].all()
		}
		out = encodeColumns(nil, cols, n)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// fuzzRun is a run with one block a section, and right checksums.
func fuzzRun(blocks [edgeSections][]byte, strings []byte, spans uint32, head []byte) []byte {
	var file, index []byte
	for _, b := range blocks {
		entry := make([]byte, edgesIndexBytes)
		binary.LittleEndian.PutUint64(entry[16:], uint64(len(file)))
		binary.LittleEndian.PutUint32(entry[24:], uint32(len(b)))
		binary.LittleEndian.PutUint32(entry[28:], 1)
		binary.LittleEndian.PutUint32(entry[32:], crc32.Checksum(b, castagnoli))
		index = append(index, entry...)
		file = append(file, b...)
	}
	footer := binary.LittleEndian.AppendUint32([]byte(edgesMagic), edgesVersion)
	for range 2 * edgeSections {
		footer = binary.LittleEndian.AppendUint32(footer, 1)
	}
	footer = binary.LittleEndian.AppendUint64(footer, uint64(len(file)+len(strings)))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(len(file)))
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(strings)))
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(strings, castagnoli))
	footer = binary.LittleEndian.AppendUint64(footer, 0)
	footer = binary.LittleEndian.AppendUint64(footer, 1<<62)
	footer = binary.LittleEndian.AppendUint32(footer, spans)
	rest := append(append([]byte{}, index...), footer...)
	for i, b := range head {
		if i < len(rest) {
			rest[i] ^= b
		}
	}
	index, footer = rest[:len(index)], rest[len(index):]
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(index, castagnoli))
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(footer, castagnoli))
	return append(append(append(file, strings...), index...), footer...)
}

// FuzzEdges reads runs of any content, with right checksums: no panic, no memory
// beyond what a block may take, and no error but a *CorruptError.
func FuzzEdges(f *testing.F) {
	dir := f.TempDir()
	sum := graph.Summary{TraceID: numbered(1), SpanID: trace.SpanID{1}, Service: "web", Name: "GET /", StartUnixNano: 5e9, RootStartUnixNano: 5e9, DurationNano: 7000, Spans: 2,
		Kept: []trace.Attribute{{Key: "request_id", Value: trace.String("c0ffee-17")}}}
	halves := []graph.Half{
		{Of: trace.Ref{TraceID: numbered(2), SpanID: trace.SpanID{2}}, Target: trace.Ref{TraceID: numbered(1), SpanID: trace.SpanID{1}}, Side: graph.EffectSide, Rule: 1, Dropped: 3},
		{Of: trace.Ref{TraceID: numbered(1), SpanID: trace.SpanID{1}}, Side: graph.CauseSide | graph.EffectSide, Rule: requestRule, Key: graph.RequestKey("c0ffee-17")},
		{Of: trace.Ref{TraceID: numbered(2), SpanID: trace.SpanID{3}}, Side: graph.EffectSide, Rule: 5, Key: 77},
		{Of: trace.Ref{TraceID: numbered(1), SpanID: trace.SpanID{4}}, Side: graph.CauseSide, Rule: 5, Key: 77, StartUnixNano: 6e9},
	}
	for n, list := range [][]graph.Half{halves, halves[:1], nil} {
		o := orderEdges(list, []graph.Summary{sum})
		w := newEdgesWriter(nil)
		if n == 2 {
			w.nameBytes = maxNameBytes // no room for another one
		}
		for i := range o.traces {
			if err := w.trace(&o.traces[i]); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(plainBlock(f, w.block.append(nil), traceColumns),
			plainBlock(f, encodeCauses(nil, o.causes), causeColumns), plainBlock(f, encodeEffects(nil, o.effects), effectColumns),
			plainBlock(f, encodeEnds(nil, o.ends), endColumns),
			plainBlock(f, encodeRequests(nil, []requestRecord{{requestPart(graph.RequestKey("c0ffee-17")), 0}}), requestColumns),
			"\x82\x03web\x05GET /\x00\x00", []byte{})
	}
	f.Add([]byte{1}, []byte{1, 2, 3}, []byte{200}, []byte{1, 5}, []byte{2, 0, 0}, "x", []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255})
	path := filepath.Join(dir, "fuzz.edges")
	f.Fuzz(func(t *testing.T, traces, causes, effects, ends, requests []byte, name string, head []byte) {
		if len(traces)+len(causes)+len(effects)+len(ends)+len(requests)+len(name) > 64<<10 {
			return
		}
		blocks := [edgeSections][]byte{traces, causes, effects, ends, requests}
		file := fuzzRun(blocks, encodeStrings([]string{name}, []string{"request_id"}), 3, head)
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		e := OpenEdges(path, NewCache(1<<20))
		defer e.Close()
		ids := []trace.ID{{}, numbered(1), numbered(2)}
		asked := 0
		errs := []error{
			e.Verify(t.Context()),
			e.Summaries(ids, func(int, *graph.Summary) {}),
			e.Causes(ids, func(int, *graph.Half) bool { return true }),
			e.Effects(ids, func(int, graph.Link) bool { asked++; return asked < 100 }),
			e.Ends([]graph.Key{0, 77, graph.RequestKey("c0ffee-17")}, func(int, *graph.Half) bool { return true }),
			e.Sharing([]graph.Key{0, 77, graph.RequestKey("c0ffee-17")}, func(int, int) {}),
		}
		_, err := e.Between(t.Context(), 0, 1<<62)
		errs = append(errs, err)
		_, err = MergeEdges(filepath.Join(dir, "merged.edges"), []*Edges{e}, nil)
		for _, err := range append(errs, err) {
			var bad *CorruptError
			if err != nil && !errors.As(err, &bad) {
				t.Fatalf("got %v, want a CorruptError", err)
			}
		}
		if asked > 100 {
			t.Fatalf("%d effects, at most 100 were asked for", asked)
		}
	})
}
