package segment

import (
	"encoding/binary"
	"math"
	"math/bits"

	"redthread/tracestore/graph"
)

// Blocks of the other sections of a run of edges, see edges.go and edgebits.go. The
// columns up to the head are stored as they are.

// causeRecord is a half of the effect side: recorded, or with a key.
type causeRecord struct {
	of, target uint32 // spans; target is recordedNone where there is a key
	key        graph.Key
	side, rule uint8
	unsampled  bool
	dropped    int32
}

// effectRecord says that a recorded half of a span names the target.
type effectRecord struct{ target, of uint32 }

// endRecord is a half with a key.
type endRecord struct {
	key graph.Key
	// of is the span; of a mere sender, the trace: which span it is need not be
	// known to name the origin, and can be read while it is there.
	of         uint32
	side, rule uint8
	sender     bool
	dropped    int32
	start      int64 // of a mere sender, milliseconds after the start of the trace
}

// requestRecord says that a block of traces has one whose request has a key with
// this upper part. The block knows the rest.
type requestRecord struct{ part, block uint32 }

const (
	recordedNone = math.MaxUint32
	// requestPartBits: among a million requests one in 70 has its upper part in
	// common with another one, which is then looked at for nothing.
	requestPartBits = 26
)

func requestPart(key graph.Key) uint32 { return uint32(key >> (64 - requestPartBits)) }

const (
	causeSteps   = iota // spans
	causeTargets        // all of the same number of bits
	causeKeys           // 8 bytes
	causeHead
	causeFlags
	causeDropped
	causeColumns
)

func encodeCauses(dst []byte, list []causeRecord) []byte {
	c := make([]col, causeColumns)
	head := &c[causeHead]
	head.uvarint(uint64(len(list)))
	var steps, targets bitWriter
	steps.steps(head, len(list), func(i int) uint64 { return uint64(list[i].of) })
	most := uint32(0)
	for i := range list {
		if list[i].target != recordedNone {
			most = max(most, list[i].target)
		}
	}
	width := bits.Len32(most)
	head.uvarint(uint64(width))
	for i := range list {
		h := &list[i]
		flags := uint64(h.rule)<<4 | uint64(h.side)<<2
		if h.unsampled {
			flags |= 2
		}
		if h.target == recordedNone {
			flags |= 1
			c[causeKeys] = binary.LittleEndian.AppendUint64(c[causeKeys], uint64(h.key))
		} else {
			targets.put(uint64(h.target), width)
		}
		c[causeFlags].uvarint(flags)
		c[causeDropped].uvarint(zigzag(int64(h.dropped)))
	}
	c[causeSteps], c[causeTargets] = steps.bytes(), targets.bytes()
	return encodeColumns(dst, c, causeHead)
}

func decodeCauses(block []byte) (list []causeRecord, err error) {
	err = decodeColumns(block, causeColumns, func(c []colReader) error {
		head := &c[causeHead]
		list = make([]causeRecord, head.count(edgesBlockItems))
		steps, targets := bitReader{b: c[causeSteps].all()}, bitReader{b: c[causeTargets].all()}
		steps.steps(head, len(list), func(i int, v uint64) { list[i].of = uint32(v) })
		width := head.count(32)
		for i := range list {
			flags := c[causeFlags].count(1<<12 - 1)
			h := &list[i]
			h.rule, h.side, h.unsampled, h.dropped = uint8(flags>>4), uint8(flags>>2&3), flags&2 != 0, int32(c[causeDropped].varint())
			if flags&1 == 0 {
				h.target = uint32(targets.take(width))
				continue
			}
			h.target = recordedNone
			if b := c[causeKeys].bytes(8); b != nil {
				h.key = graph.Key(binary.LittleEndian.Uint64(b))
			}
		}
		return wholeBits(&steps, &targets)
	})
	return list, err
}

// wholeBits is an error unless all of the bits were read.
func wholeBits(readers ...*bitReader) error {
	for _, r := range readers {
		if !r.whole() {
			return errEdges
		}
	}
	return nil
}

const (
	effectSteps = iota // targets
	effectOf           // spans, all of the same number of bits
	effectHead
	effectColumns
)

func encodeEffects(dst []byte, list []effectRecord) []byte {
	c := make([]col, effectColumns)
	head := &c[effectHead]
	head.uvarint(uint64(len(list)))
	var steps, of bitWriter
	steps.steps(head, len(list), func(i int) uint64 { return uint64(list[i].target) })
	most := uint32(0)
	for i := range list {
		most = max(most, list[i].of)
	}
	width := bits.Len32(most)
	head.uvarint(uint64(width))
	for i := range list {
		of.put(uint64(list[i].of), width)
	}
	c[effectSteps], c[effectOf] = steps.bytes(), of.bytes()
	return encodeColumns(dst, c, effectHead)
}

func decodeEffects(block []byte) (list []effectRecord, err error) {
	err = decodeColumns(block, effectColumns, func(c []colReader) error {
		head := &c[effectHead]
		list = make([]effectRecord, head.count(edgesBlockItems))
		steps, of := bitReader{b: c[effectSteps].all()}, bitReader{b: c[effectOf].all()}
		steps.steps(head, len(list), func(i int, v uint64) { list[i].target = uint32(v) })
		width := head.count(32)
		for i := range list {
			list[i].of = uint32(of.take(width))
		}
		return wholeBits(&steps, &of)
	})
	return list, err
}

const (
	endSteps = iota // the upper halves of keys
	endKeys         // the lower ones, 4 bytes
	endOf           // all of the same number of bits
	endHead
	endFlags
	endDropped
	endStartLow // of senders, zigzag: the lower 8 bits, a byte each
	endStartHigh
	endColumns
)

func encodeEnds(dst []byte, list []endRecord) []byte {
	c := make([]col, endColumns)
	head := &c[endHead]
	head.uvarint(uint64(len(list)))
	var steps, of bitWriter
	steps.steps(head, len(list), func(i int) uint64 { return uint64(list[i].key >> 32) })
	most := uint32(0)
	for i := range list {
		most = max(most, list[i].of)
	}
	width := bits.Len32(most)
	head.uvarint(uint64(width))
	for i := range list {
		h := &list[i]
		flags := uint64(h.rule)<<3 | uint64(h.side)<<1
		if h.sender {
			flags |= 1
			start := zigzag(h.start)
			c[endStartLow] = append(c[endStartLow], byte(start))
			c[endStartHigh].uvarint(start >> 8)
		}
		c[endKeys] = binary.LittleEndian.AppendUint32(c[endKeys], uint32(h.key))
		c[endFlags].uvarint(flags)
		c[endDropped].uvarint(zigzag(int64(h.dropped)))
		of.put(uint64(h.of), width)
	}
	c[endSteps], c[endOf] = steps.bytes(), of.bytes()
	return encodeColumns(dst, c, endHead)
}

func decodeEnds(block []byte) (list []endRecord, err error) {
	err = decodeColumns(block, endColumns, func(c []colReader) error {
		head := &c[endHead]
		list = make([]endRecord, head.count(edgesBlockItems))
		steps, of := bitReader{b: c[endSteps].all()}, bitReader{b: c[endOf].all()}
		steps.steps(head, len(list), func(i int, v uint64) { list[i].key = graph.Key(v) << 32 })
		width := head.count(32)
		keys := c[endKeys].bytes(4 * len(list))
		if head.bad || keys == nil && len(list) > 0 {
			return errEdges
		}
		for i := range list {
			h := &list[i]
			flags := c[endFlags].count(1<<11 - 1)
			h.rule, h.side, h.sender, h.dropped = uint8(flags>>3), uint8(flags>>1&3), flags&1 != 0, int32(c[endDropped].varint())
			h.key |= graph.Key(binary.LittleEndian.Uint32(keys[4*i:]))
			h.of = uint32(of.take(width))
			if h.sender {
				if low := c[endStartLow].bytes(1); low != nil {
					h.start = unzigzag(c[endStartHigh].uvarint()<<8 | uint64(low[0]))
				}
			}
		}
		return wholeBits(&steps, &of)
	})
	return list, err
}

const (
	requestSteps  = iota // parts of keys
	requestBlocks        // all of the same number of bits
	requestHead
	requestColumns
)

func encodeRequests(dst []byte, list []requestRecord) []byte {
	c := make([]col, requestColumns)
	head := &c[requestHead]
	head.uvarint(uint64(len(list)))
	var steps, blocks bitWriter
	steps.steps(head, len(list), func(i int) uint64 { return uint64(list[i].part) })
	most := uint32(0)
	for i := range list {
		most = max(most, list[i].block)
	}
	width := bits.Len32(most)
	head.uvarint(uint64(width))
	for i := range list {
		blocks.put(uint64(list[i].block), width)
	}
	c[requestSteps], c[requestBlocks] = steps.bytes(), blocks.bytes()
	return encodeColumns(dst, c, requestHead)
}

func decodeRequests(block []byte) (list []requestRecord, err error) {
	err = decodeColumns(block, requestColumns, func(c []colReader) error {
		head := &c[requestHead]
		list = make([]requestRecord, head.count(edgesBlockItems))
		steps, blocks := bitReader{b: c[requestSteps].all()}, bitReader{b: c[requestBlocks].all()}
		steps.steps(head, len(list), func(i int, v uint64) { list[i].part = uint32(v) })
		width := head.count(32)
		for i := range list {
			list[i].block = uint32(blocks.take(width))
		}
		return wholeBits(&steps, &blocks)
	})
	return list, err
}
