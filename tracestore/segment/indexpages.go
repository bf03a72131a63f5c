package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// A sidecar is cut into pages of 4 KiB, each ending in a checksum of its number
// and its content, so that a question reads and checks one page and no more.
// Offsets into a sidecar count payload: the pages without their checksums.
const (
	indexPageBytes    = 4096
	indexPayloadBytes = indexPageBytes - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errIndex is a sidecar that is not what was written.
var errIndex = errors.New("index is damaged")

func pageChecksum(number int64, payload []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(number))
	return crc32.Update(crc32.Checksum(n[:], castagnoli), castagnoli, payload)
}

// writePages writes payload cut into pages. The last one may be short.
func writePages(w io.Writer, payload []byte) error {
	var sum [4]byte
	for number := int64(0); len(payload) > 0; number++ {
		part := payload[:min(len(payload), indexPayloadBytes)]
		payload = payload[len(part):]
		if _, err := w.Write(part); err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(sum[:], pageChecksum(number, part))
		if _, err := w.Write(sum[:]); err != nil {
			return err
		}
	}
	return nil
}

// pages reads the payload of a sidecar. It may be used by several goroutines.
type pages struct {
	r     io.ReaderAt
	bytes int64 // of payload
}

func newPages(r io.ReaderAt, fileBytes int64) (pages, error) {
	full, rest := fileBytes/indexPageBytes, fileBytes%indexPageBytes
	if rest > 0 {
		if rest -= 4; rest <= 0 {
			return pages{}, errIndex
		}
	}
	return pages{r, full*indexPayloadBytes + rest}, nil
}

// pageBuffers holds buffers of two pages: what a short read takes at most.
var pageBuffers = sync.Pool{New: func() any { return new([2 * indexPageBytes]byte) }}

// read fills dst with payload from offset on. A page that is not what was written
// is an errIndex.
func (p pages) read(dst []byte, offset int64) error {
	if offset < 0 || offset > p.bytes || int64(len(dst)) > p.bytes-offset {
		return errIndex
	}
	buf := pageBuffers.Get().(*[2 * indexPageBytes]byte)
	defer pageBuffers.Put(buf)
	for len(dst) > 0 {
		number := offset / indexPayloadBytes
		skip := int(offset % indexPayloadBytes)
		// Whole pages of what is wanted, as many as the buffer holds.
		want := min(skip+len(dst), 2*indexPayloadBytes)
		last := min((number+int64((want+indexPayloadBytes-1)/indexPayloadBytes))*indexPayloadBytes, p.bytes)
		size := int(last - number*indexPayloadBytes)
		raw := buf[:size+4*((size+indexPayloadBytes-1)/indexPayloadBytes)]
		if _, err := p.r.ReadAt(raw, number*indexPageBytes); err != nil {
			if errors.Is(err, io.EOF) {
				return errIndex
			}
			return fmt.Errorf("read index: %w", err)
		}
		for len(raw) > 0 {
			page := raw[:min(len(raw), indexPageBytes)]
			raw = raw[len(page):]
			payload := page[:len(page)-4]
			if pageChecksum(number, payload) != binary.LittleEndian.Uint32(page[len(payload):]) {
				return errIndex
			}
			number++
			n := copy(dst, payload[skip:])
			dst, offset, skip = dst[n:], offset+int64(n), 0
		}
	}
	return nil
}
