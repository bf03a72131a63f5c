package parquet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Page types of parquet.thrift.
const (
	pageData       = 0
	pageDictionary = 2
	pageDataV2     = 3
)

// usefulPercent: a page is compressed if it shrinks to less than this share. What
// does not (ids, random numbers) is then read without a decompressor. The codec of
// a chunk is zstd all the same, as parquet-go wants one for all row groups, and a
// dictionary, whose header cannot say otherwise, is always compressed.
const usefulPercent = 95

// chunk writes the pages that stand in raw.
func (w *Writer) chunk(i, n int, e chunkEncoder, dict int, v *Values) error {
	c := &w.columns[i]
	k := written{here: true, encoding: e.encoding}
	k.offset, k.dict, k.codec = w.at, dict >= 0, codecZstd
	dictEnd := w.pages[0].from
	saved := 0
	if k.dict {
		w.packed = w.packed[:0]
		from := 0
		for _, end := range w.frames(c, v, dict, dictEnd) {
			w.packed = w.zstd.EncodeAll(w.raw[from:end], w.packed)
			from = end
		}
		saved = dictEnd - len(w.packed)
		err := w.page(pageDictionary, dictEnd, w.packed, 7, func(h *thriftWriter) {
			h.i32(1, int64(dict))
			h.i32(2, int64(Plain))
		})
		if err != nil {
			return err
		}
	}
	k.data = w.at
	places := make([]int64, len(w.pages), len(w.pages)+1)
	for j := range w.pages {
		p := &w.pages[j]
		places[j] = w.at
		body, smaller := w.compress(p, e.random)
		saved += p.end - p.from - len(body)
		err := w.page(pageDataV2, p.end-p.from, body, 8, func(h *thriftWriter) {
			h.i32(1, int64(p.entries))
			h.i32(2, int64(p.nulls))
			h.i32(3, int64(p.rows))
			h.i32(4, int64(e.encoding))
			h.i32(5, int64(p.defBytes))
			h.i32(6, int64(p.repBytes))
			if !smaller {
				h.bool(7, false)
			}
		})
		if err != nil {
			return err
		}
		k.values += int64(p.entries)
	}
	places = append(places, w.at)
	bytes := w.at - k.offset
	if bytes > maxChunkBytes || len(w.raw) > maxChunkBytes {
		return fmt.Errorf("parquet: column %q takes %d bytes, the limit is %d", c.Path, max(bytes, int64(len(w.raw))), maxChunkBytes)
	}
	k.size = int32(bytes)
	k.nulls = int32(k.values - int64(n))
	// A reader takes the indexes of all chunks as one run of bytes that begins
	// with the first chunk's (parquet-go), so that one always has its own.
	if bytes > indexedBytes && len(w.pages) > 1 || bytes > indexedBytes && k.dict || w.next == 0 {
		k.index = int64(len(w.index)) // from the first index, until Close
		w.index = appendOffsetIndex(w.index, places, w.pages)
		k.indexSize = int32(int64(len(w.index)) - k.index)
	}
	k.raw = bytes + int64(saved)
	if c.Type == Int64 && c.Shape == One && n > 0 {
		k.bounded, k.least, k.top = true, v.Ints[0], v.Ints[0]
		for _, x := range v.Ints {
			k.least, k.top = min(k.least, x), max(k.top, x)
		}
	}
	w.chunks[w.next] = k
	w.next++
	return nil
}

// frames says where the frames end that a dictionary is compressed in. A long one
// of byte arrays is a row of them, all of the same number of values but the last,
// so that a reader of one row needs to decompress but one; to others it is all the
// same, as zstd lets frames follow each other.
func (w *Writer) frames(c *Column, v *Values, dict, dictEnd int) (ends []int) {
	if c.Type != ByteArray || dictEnd <= frameBytes {
		return []int{dictEnd}
	}
	n := (dictEnd + frameBytes - 1) / frameBytes
	each := (dict + n - 1) / n
	end := 0
	for i, id := range w.order {
		if end += 4 + textLen(v.Dict, id); (i+1)%each == 0 || i+1 == dict {
			ends = append(ends, end)
		}
	}
	return ends
}

// compress returns the bytes of a page: levels as they are, and the values
// compressed if that is worth it.
func (w *Writer) compress(p *dataPage, random bool) (body []byte, smaller bool) {
	body = w.raw[p.from:p.end]
	if random || p.end == p.values {
		return body, false
	}
	w.packed = append(w.packed[:0], w.raw[p.from:p.values]...)
	w.packed = w.zstd.EncodeAll(w.raw[p.values:p.end], w.packed)
	if len(w.packed)*100 >= len(body)*usefulPercent {
		return body, false
	}
	return w.packed, true
}

// page writes a page: its header, whose own part fill makes under the field id,
// and its bytes.
func (w *Writer) page(typ, raw int, body []byte, id int, fill func(*thriftWriter)) error {
	h := &w.head
	h.b, h.last = h.b[:0], 0
	h.i32(1, int64(typ))
	h.i32(2, int64(raw))
	h.i32(3, int64(len(body)))
	h.i32(4, int64(int32(crc32.ChecksumIEEE(body))))
	outer := h.begin(id)
	fill(h)
	h.end(outer)
	h.b = append(h.b, thriftStop)
	if err := w.write(h.b); err != nil {
		return err
	}
	return w.write(body)
}

// appendOffsetIndex writes where pages begin; places has their end, too.
func appendOffsetIndex(dst []byte, places []int64, pages []dataPage) []byte {
	t := thriftWriter{b: dst}
	t.list(1, thriftStruct, len(pages))
	for j, p := range pages {
		outer := t.begin(0)
		t.i64(1, places[j])
		t.i32(2, places[j+1]-places[j])
		t.i64(3, int64(p.firstRow))
		t.end(outer)
	}
	return append(t.b, thriftStop)
}

// Close writes the footer with the metadata.
func (w *Writer) Close(pairs ...Pair) error {
	for i := range w.chunks {
		if !w.chunks[i].here {
			return fmt.Errorf("parquet: column %q of row group %d is missing", w.columns[i%len(w.columns)].Path, i/len(w.columns))
		}
	}
	indexes := w.at
	if err := w.write(w.index); err != nil {
		return err
	}
	t := &thriftWriter{}
	total := 0
	for _, n := range w.rows {
		total += n
	}
	t.i32(1, 2)
	appendSchema(t, w.columns)
	t.i64(3, int64(total))
	t.list(4, thriftStruct, len(w.rows))
	for g, n := range w.rows {
		w.appendGroup(t, w.chunks[g*len(w.columns):(g+1)*len(w.columns)], n, indexes)
	}
	t.list(5, thriftStruct, len(pairs)+1)
	for _, p := range pairs {
		outer := t.begin(0)
		t.string(1, p.Key)
		t.string(2, p.Value)
		t.end(outer)
	}
	check := crc32.ChecksumIEEE(t.b)
	outer := t.begin(0)
	t.string(1, checkKey)
	t.string(2, fmt.Sprintf("%08x", check))
	t.end(outer)
	t.string(6, "redthread")
	// The order of values that the bounds in statistics follow: that of the type.
	t.list(7, thriftStruct, len(w.columns))
	for range w.columns {
		outer := t.begin(0)
		t.empty(1)
		t.end(outer)
	}
	t.b = append(t.b, thriftStop)
	t.b = binary.LittleEndian.AppendUint32(t.b, uint32(len(t.b)))
	return w.write(append(t.b, magic...))
}

func (w *Writer) appendGroup(t *thriftWriter, chunks []written, rows int, indexes int64) {
	outer := t.begin(0)
	t.list(1, thriftStruct, len(chunks))
	var raw int64
	for i := range chunks {
		k := &chunks[i]
		raw += k.raw
		w.appendChunk(t, &w.columns[i], k, indexes)
	}
	t.i64(2, raw)
	t.i64(3, int64(rows))
	t.end(outer)
}

func (w *Writer) appendChunk(t *thriftWriter, c *Column, k *written, indexes int64) {
	outer := t.begin(0)
	t.i64(2, k.offset)
	meta := t.begin(3)
	t.i32(1, int64(c.Type))
	encodings := [...]Encoding{k.encoding, RLE, Plain} // of values, levels and the dictionary
	used := encodings[:1]
	if k.dict {
		used = encodings[:3]
	} else if c.Shape != One && k.encoding != RLE {
		used = encodings[:2]
	}
	t.list(2, thriftI32, len(used))
	for _, e := range used {
		t.varint(int64(e))
	}
	t.list(3, thriftBinary, len(c.Path))
	for _, name := range c.Path {
		t.text(name)
	}
	t.i32(4, int64(k.codec))
	t.i64(5, k.values)
	t.i64(6, k.raw)
	t.i64(7, int64(k.size))
	t.i64(9, k.data)
	if k.dict {
		t.i64(11, k.offset)
	}
	stats := t.begin(12)
	t.i64(3, int64(k.nulls))
	if k.bounded {
		t.string(5, string(binary.LittleEndian.AppendUint64(nil, uint64(k.top))))
		t.string(6, string(binary.LittleEndian.AppendUint64(nil, uint64(k.least))))
	}
	t.end(stats)
	t.end(meta)
	if k.indexSize > 0 {
		t.i64(4, indexes+k.index)
		t.i32(5, int64(k.indexSize))
	}
	t.end(outer)
}
