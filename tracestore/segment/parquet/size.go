package parquet

import (
	"fmt"
	"strings"
)

// Size is what a column takes in a file.
type Size struct {
	Values             int64 // without nulls, if the file says
	Pages              int64
	Bytes              int64 // in the file
	RawBytes           int64 // before compression, without headers
	HeaderBytes        int64
	LevelBytes         int64
	DictionaryBytes    int64 // in the file
	RawDictionaryBytes int64
	encodings          [10]int64 // pages
}

// Add adds what another column or row group takes.
func (s *Size) Add(x Size) {
	s.Values += x.Values
	s.Pages += x.Pages
	s.Bytes += x.Bytes
	s.RawBytes += x.RawBytes
	s.HeaderBytes += x.HeaderBytes
	s.LevelBytes += x.LevelBytes
	s.DictionaryBytes += x.DictionaryBytes
	s.RawDictionaryBytes += x.RawDictionaryBytes
	for i, n := range x.encodings {
		s.encodings[i] += n
	}
}

var encodingNames = map[Encoding]string{Plain: "plain", RLE: "rle", Delta: "delta", Dictionary: "dictionary", oldDictionary: "dictionary"}

// Encodings names the encodings of data pages with the pages of each.
func (s *Size) Encodings() string {
	var parts []string
	for i, n := range s.encodings {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", encodingNames[Encoding(i)], n))
		}
	}
	return strings.Join(parts, " ")
}

// Size reads all page headers of the chunk.
func (c Chunk) Size() (Size, error) {
	m := c.meta()
	s := scratches.Get().(*scratch)
	defer s.release()
	b, err := c.readAt(s, m.offset, int(m.size))
	if err != nil {
		return Size{}, c.wrap(err)
	}
	x := Size{Bytes: int64(m.size), Values: int64(c.rows()) - max(0, int64(m.nulls))}
	for len(b) > 0 {
		h, n, err := readHeader(b)
		if err != nil {
			return x, c.wrap(err)
		}
		if h.packed > len(b)-n {
			return x, c.wrap(errSize)
		}
		x.Pages++
		x.HeaderBytes += int64(n)
		x.RawBytes += int64(h.raw)
		x.LevelBytes += int64(h.defBytes + h.repBytes)
		if h.typ == pageDictionary {
			x.DictionaryBytes += int64(h.packed)
			x.RawDictionaryBytes += int64(h.raw)
		} else if int(h.encoding) < len(x.encodings) {
			x.encodings[h.encoding]++
		}
		b = b[n+h.packed:]
	}
	return x, nil
}
