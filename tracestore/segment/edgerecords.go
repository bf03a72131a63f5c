package segment

import (
	"math"

	"redthread/tracestore/graph"
)

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
	key        graph.Key // of one that is a trace's request, only the upper half
	of         uint32
	side, rule uint8
	request    bool
	dropped    int32
}

const recordedNone = math.MaxUint32

func encodeCauses(dst []byte, list []causeRecord) []byte {
	var c columns
	c.uvarint(uint64(len(list)))
	last, most := uint32(0), uint32(0)
	for i := range list {
		c.uvarint(uint64(list[i].of - last))
		if last = list[i].of; list[i].target != recordedNone {
			most = max(most, list[i].target)
		}
	}
	w := width(uint64(most))
	c.uvarint(uint64(w))
	for i := range list {
		h := &list[i]
		flags := uint64(h.rule)<<4 | uint64(h.side)<<2
		if h.unsampled {
			flags |= 2
		}
		if h.target == recordedNone {
			flags |= 1
		}
		c.uvarint(flags)
	}
	for i := range list {
		c.uvarint(zigzag(int64(list[i].dropped)))
	}
	for i := range list {
		if h := &list[i]; h.target == recordedNone {
			c.plain = appendFixed(c.plain, uint64(h.key), 8)
		} else {
			c.plain = appendFixed(c.plain, uint64(h.target), w)
		}
	}
	return c.encode(dst)
}

func decodeCauses(block []byte) ([]causeRecord, error) {
	plain, r, err := readers(block)
	if err != nil {
		return nil, err
	}
	list := make([]causeRecord, r.count(edgesBlockItems))
	last := uint32(0)
	for i := range list {
		last += r.u32()
		list[i].of = last
	}
	w := r.count(4)
	for i := range list {
		flags := r.count(1<<12 - 1)
		h := &list[i]
		h.rule, h.side, h.unsampled = uint8(flags>>4), uint8(flags>>2&3), flags&2 != 0
		if flags&1 != 0 {
			h.target = recordedNone
		}
	}
	for i := range list {
		list[i].dropped = int32(r.varint())
	}
	for i := range list {
		if h := &list[i]; h.target == recordedNone {
			if b := plain.bytes(8); !plain.bad {
				h.key = graph.Key(fixed(b, 0, 8))
			}
		} else if b := plain.bytes(w); !plain.bad {
			h.target = uint32(fixed(b, 0, w))
		}
	}
	if r.bad || plain.bad || len(r.rest)+len(plain.rest) > 0 {
		return nil, errEdges
	}
	return list, nil
}

func encodeEffects(dst []byte, list []effectRecord) []byte {
	var c columns
	c.uvarint(uint64(len(list)))
	last, most := uint32(0), uint32(0)
	for i := range list {
		c.uvarint(uint64(list[i].target - last))
		last, most = list[i].target, max(most, list[i].of)
	}
	w := width(uint64(most))
	c.uvarint(uint64(w))
	for i := range list {
		c.plain = appendFixed(c.plain, uint64(list[i].of), w)
	}
	return c.encode(dst)
}

func decodeEffects(block []byte) ([]effectRecord, error) {
	plain, r, err := readers(block)
	if err != nil {
		return nil, err
	}
	list := make([]effectRecord, r.count(edgesBlockItems))
	last := uint32(0)
	for i := range list {
		last += r.u32()
		list[i].target = last
	}
	w := r.count(4)
	raw := plain.bytes(w * len(list))
	if r.bad || plain.bad || len(r.rest)+len(plain.rest) > 0 {
		return nil, errEdges
	}
	for i := range list {
		list[i].of = uint32(fixed(raw, i, w))
	}
	return list, nil
}

func encodeEnds(dst []byte, list []endRecord) []byte {
	var c columns
	c.uvarint(uint64(len(list)))
	last, most := uint32(0), uint32(0)
	for i := range list {
		hi := uint32(list[i].key >> 32)
		c.uvarint(uint64(hi - last))
		last, most = hi, max(most, list[i].of)
	}
	w := width(uint64(most))
	c.uvarint(uint64(w))
	for i := range list {
		h := &list[i]
		flags := uint64(h.rule)<<3 | uint64(h.side)<<1
		if h.request {
			flags |= 1
		} else {
			c.plain = appendFixed(c.plain, uint64(uint32(h.key)), 4)
		}
		c.uvarint(flags)
		c.plain = appendFixed(c.plain, uint64(h.of), w)
	}
	for i := range list {
		c.uvarint(zigzag(int64(list[i].dropped)))
	}
	return c.encode(dst)
}

func decodeEnds(block []byte) ([]endRecord, error) {
	plain, r, err := readers(block)
	if err != nil {
		return nil, err
	}
	list := make([]endRecord, r.count(edgesBlockItems))
	last := uint32(0)
	for i := range list {
		last += r.u32()
		list[i].key = graph.Key(last) << 32
	}
	w := r.count(4)
	for i := range list {
		flags := r.count(1<<11 - 1)
		h := &list[i]
		h.rule, h.side, h.request = uint8(flags>>3), uint8(flags>>1&3), flags&1 != 0
		if !h.request {
			if b := plain.bytes(4); !plain.bad {
				h.key |= graph.Key(fixed(b, 0, 4))
			}
		}
		if b := plain.bytes(w); !plain.bad {
			h.of = uint32(fixed(b, 0, w))
		}
	}
	for i := range list {
		list[i].dropped = int32(r.varint())
	}
	if r.bad || plain.bad || len(r.rest)+len(plain.rest) > 0 {
		return nil, errEdges
	}
	return list, nil
}
