package collab

import "encoding/binary"

// The heads of a GIF (GIF89a specification, section 17).
const gifHead87, gifHead89 = "GIF87a", "GIF89a"

// stripGIF keeps the frames of a GIF with their colours and times, and how often they
// are shown; nil if the bytes are no whole GIF, or a frame does not fit the screen.
// Comments, what applications wrote and what stands behind the end go.
func stripGIF(raw []byte) []byte {
	const headBytes = 13 // the head and the logical screen
	if len(raw) < headBytes {
		return nil
	}
	le := binary.LittleEndian
	width, height := int(le.Uint16(raw[6:])), int(le.Uint16(raw[8:]))
	at := headBytes + gifColours(raw[10])
	if at >= len(raw) {
		return nil
	}
	out := append(make([]byte, 0, len(raw)), raw[:at]...)
	frames := 0
	for {
		b := raw[at:]
		keep, head := true, 2 // an extension: what it is, then its blocks
		switch {
		case len(b) > 0 && b[0] == 0x3b && frames > 0:
			return append(out, 0x3b)
		case len(b) > 10 && b[0] == 0x2c: // a frame: where, its colours, the width of its codes
			if int(le.Uint16(b[1:]))+int(le.Uint16(b[5:])) > width || int(le.Uint16(b[3:]))+int(le.Uint16(b[7:])) > height {
				return nil
			}
			frames++
			head = 10 + gifColours(b[9]) + 1
		case len(b) > 2 && b[0] == 0x21:
			keep = gifTimes(b)
		default:
			return nil
		}
		n := gifBlocks(b, head)
		if n < 0 {
			return nil
		}
		if keep {
			out = append(out, b[:n]...)
		}
		at += n
	}
}

// gifTimes reports whether an extension says how long the next frame is shown, or how
// often all are, and nothing else: in more blocks than those have anything may stand.
func gifTimes(b []byte) bool {
	switch b[1] {
	case 0xf9:
		return len(b) > 7 && b[2] == 4 && b[7] == 0
	case 0xff:
		return len(b) > 18 && (string(b[2:14]) == "\x0bNETSCAPE2.0" || string(b[2:14]) == "\x0bANIMEXTS1.0") && b[14] == 3 && b[15] == 1 && b[18] == 0
	}
	return false
}

// gifColours is how many bytes a table of colours has, by the flags that announce it.
func gifColours(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

// gifBlocks returns where the blocks that begin at i end, -1 if they do not.
func gifBlocks(b []byte, i int) int {
	for i < len(b) {
		n := int(b[i])
		if i += 1 + n; n == 0 {
			return i
		}
	}
	return -1
}
