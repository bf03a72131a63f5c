package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"redthread/tracestore/column"
)

// sizedBytes: of so many bytes or more our encoder says the size. Of fewer it may
// leave it out (RFC 8878, 3.1.1.1.4).
const sizedBytes = 256

var errFrame = errors.New("frames of the dictionary are damaged")

// resolve replaces the ids that were picked by ids in a dictionary of their own,
// of which it decompresses the frames that are needed. page is the bytes of the
// dictionary's page.
func (c Chunk) resolve(k *picker, page int) error {
	m := c.meta()
	b, err := c.readAt(k.s, m.offset, page)
	if err != nil {
		return err
	}
	h, n, err := readHeader(b)
	if err != nil {
		return err
	}
	body, _, err := k.s.body(b, &h, n)
	if err != nil {
		return err
	}
	if m.codec != codecZstd {
		return errFrame
	}
	var frames [][]byte
	for len(body) > 0 {
		n, err := frameLen(body)
		if err != nil {
			return err
		}
		frames = append(frames, body[:n])
		body = body[n:]
	}
	if len(frames) == 0 {
		return errFrame
	}
	each := (h.entries + len(frames) - 1) / len(frames)
	ids := slices.Clone(k.out.IDs)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var out column.Dict
	for i := 0; i < len(ids); {
		if int64(ids[i]) >= int64(h.entries) {
			return fmt.Errorf("id %d in a dictionary of %d", ids[i], h.entries)
		}
		frame := int(ids[i]) / each
		src, err := k.s.unpackFrame(frames[frame], h.raw)
		if err != nil {
			return err
		}
		for id := frame * each; id < min((frame+1)*each, h.entries); id++ {
			var text []byte
			if text, src, err = plainText(src); err != nil {
				return err
			}
			if i < len(ids) && int(ids[i]) == id {
				out.Arena = append(out.Arena, text...)
				out.Ends = append(out.Ends, uint32(len(out.Arena)))
				i++
			}
		}
		if len(src) > 0 {
			return errFrame
		}
	}
	for i, id := range k.out.IDs {
		at, _ := slices.BinarySearch(ids, id)
		k.out.IDs[i] = uint32(at)
	}
	k.out.Dict = out
	return nil
}

// unpackFrame decompresses a frame of a page of so many bytes.
func (s *scratch) unpackFrame(frame []byte, page int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil || h.FrameContentSize > uint64(page) {
		return nil, errFrame
	}
	if h.HasFCS {
		return s.unpack(frame, int(h.FrameContentSize), codecZstd)
	}
	s.raw = grow(s.raw, sizedBytes)
	out, err := decoder.DecodeAll(frame, s.raw[:0:sizedBytes])
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}

// frameLen is the length of the zstd frame at the start of b (RFC 8878, 3.1.1).
func frameLen(b []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil || h.Skippable {
		return 0, errFrame
	}
	at := h.HeaderSize
	for last := false; !last; {
		if at > len(b)-3 {
			return 0, errFrame
		}
		head := int(binary.LittleEndian.Uint16(b[at:])) | int(b[at+2])<<16
		last = head&1 != 0
		size := head >> 3
		if head>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		if at += 3 + size; at > len(b) {
			return 0, errFrame
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	if at > len(b) {
		return 0, errFrame
	}
	return at, nil
}
