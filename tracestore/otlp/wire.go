package otlp

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// The wire types of protobuf
// (https://protobuf.dev/programming-guides/encoding/#structure).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

// wireField is one field as it lies on the wire: num for the numeric wire types,
// data for bytes.
type wireField struct {
	number int
	typ    uint8
	num    uint64
	data   []byte
}

// The reasons why a message cannot be read.
const (
	errTruncated = "the protobuf message is cut short"
	errVarint    = "a protobuf varint is longer than 10 bytes"
	errTag       = "not protobuf: a field has number 0"
	errWireType  = "not protobuf: unknown wire type"
	errGroup     = "not protobuf: a group ends that never began, or never ends"
	errDepth     = "messages are nested deeper than 100 levels"
)

// uvarint reads a varint at b[i:]. It returns the index behind it, or -1 when it
// is cut short, or -2 when it is too long.
func uvarint(b []byte, i int) (uint64, int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	var v uint64
	for shift := uint(0); shift < 70; shift += 7 {
		if i >= len(b) {
			return 0, -1
		}
		c := b[i]
		i++
		if shift == 63 && c > 1 {
			return 0, -2
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i
		}
	}
	return 0, -2
}

// next reads the field at b[i:], which is not empty, into f and returns the index behind it, or a
// negative index and the reason. Groups, which OTLP never uses, are passed over
// with typ wireGroup.
func next(b []byte, i int, f *wireField) (int, string) {
	// Nearly every tag is one byte, and a length one or two.
	if c := b[i]; c < 0x80 && c&7 == wireBytes && c > 7 && i+2 < len(b) {
		n, from := int(b[i+1]), i+2
		if n >= 0x80 {
			n, from = n&0x7f|int(b[from])<<7, from+1
		}
		if n < 1<<14 {
			end := from + n
			if end > len(b) {
				return -1, errTruncated
			}
			f.number, f.typ, f.data = int(c>>3), wireBytes, b[from:end]
			return end, ""
		}
	}
	tag, j := uvarint(b, i)
	if j < 0 {
		return -1, varintReason(j)
	}
	f.number, f.typ = int(tag>>3), uint8(tag&7)
	if tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return -1, errTag
	}
	switch f.typ {
	case wireBytes:
		n, k := uvarint(b, j)
		if k < 0 {
			return -1, varintReason(k)
		}
		if n > uint64(len(b)-k) {
			return -1, errTruncated
		}
		end := k + int(n)
		f.data = b[k:end]
		return end, ""
	case wireVarint:
		v, k := uvarint(b, j)
		if k < 0 {
			return -1, varintReason(k)
		}
		f.num = v
		return k, ""
	case wireFixed64:
		if len(b)-j < 8 {
			return -1, errTruncated
		}
		f.num = binary.LittleEndian.Uint64(b[j:])
		return j + 8, ""
	case wireFixed32:
		if len(b)-j < 4 {
			return -1, errTruncated
		}
		f.num = uint64(binary.LittleEndian.Uint32(b[j:]))
		return j + 4, ""
	case wireGroup:
		return skipGroup(b, j, f.number)
	case wireEnd:
		return -1, errGroup
	}
	return -1, errWireType
}

// skipGroup passes over the group whose begin was read, and all groups in it.
func skipGroup(b []byte, i, number int) (int, string) {
	open := []int{number}
	for len(open) > 0 {
		if i >= len(b) {
			return -1, errGroup
		}
		tag, j := uvarint(b, i)
		if j < 0 {
			return -1, varintReason(j)
		}
		switch tag & 7 {
		case wireGroup:
			if len(open) == maxDepth {
				return -1, errDepth
			}
			open = append(open, int(tag>>3))
			i = j
		case wireEnd:
			if open[len(open)-1] != int(tag>>3) {
				return -1, errGroup
			}
			open = open[:len(open)-1]
			i = j
		default:
			var f wireField
			var why string
			if i, why = next(b, i, &f); i < 0 {
				return i, why
			}
		}
	}
	return i, ""
}

func varintReason(i int) string {
	if i == -2 {
		return errVarint
	}
	return errTruncated
}

// offset is where part[i] lies in whole, of which part is a sub-slice that kept
// its capacity.
func offset(whole, part []byte, i int) int { return cap(whole) - cap(part) + i }

// alias views bytes as a string without a copy.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// text views bytes as a string of UTF-8. Where they are not, it writes a repaired
// copy to the arena: U+FFFD for each bad byte.
func text(b []byte, arena *[]byte) string {
	if utf8.Valid(b) {
		return alias(b)
	}
	return repaired(alias(b), arena)
}

// repaired writes s to the arena with U+FFFD in place of each bad byte.
func repaired(s string, arena *[]byte) string {
	from := len(*arena)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		*arena = utf8.AppendRune(*arena, r)
		s = s[n:]
	}
	return alias((*arena)[from:])
}
