package collab

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
)

// A picture from a phone says where it was taken, by what and when. stripPicture
// returns it with its pixels, its colours and which way is up (1 to 8, as Exif has
// it), and nothing else; nil if the bytes are no whole picture of that type. What is
// kept is listed: whatever is not known to be needed for showing a picture goes. A
// picture that was stripped stays as it is.
func stripPicture(kind string, raw []byte) (stripped []byte, orientation int) {
	switch kind {
	case "image/jpeg":
		return stripJPEG(raw)
	case "image/png":
		return stripPNG(raw)
	case "image/gif":
		return stripGIF(raw), 1
	case "image/webp":
		return stripWebP(raw)
	}
	return nil, 1
}

// exifHead begins an Exif segment of a JPEG; some writers put it in WebP too.
const exifHead = "Exif\x00\x00"

// maxExifEntries bounds how many entries are looked at for the orientation.
const maxExifEntries = 1_000

// orientationOf reads tag 0x0112 of the first directory of Exif data, a TIFF file
// (CIPA DC-008, 4.6.4): 1 to 8, 1 also if it does not say.
func orientationOf(tiff []byte) int {
	tiff = bytes.TrimPrefix(tiff, []byte(exifHead))
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.BigEndian
	if string(tiff[:2]) == "II" {
		order = binary.LittleEndian
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range min(int(order.Uint16(tiff[at:])), maxExifEntries) {
		if len(entries) < 12 {
			return 1
		}
		if order.Uint16(entries) == 0x0112 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// orientationExif is Exif data that says which way is up and nothing else: a TIFF
// head, then a directory of one entry.
func orientationExif(o int) []byte {
	return []byte{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, byte(o), 0, 0, 0, 0, 0, 0}
}

// The markers of JPEG (ITU-T T.81, table B.1) that are of interest.
const (
	jpegSOI  = 0xd8
	jpegEOI  = 0xd9
	jpegSOS  = 0xda
	jpegAPP0 = 0xe0
)

// stripJPEG keeps the segments that a decoder needs, the ICC profile, what Adobe
// says of the colours, and the orientation. What stands behind the end, such as
// the film of a moving photo, goes.
func stripJPEG(raw []byte) (_ []byte, orientation int) {
	if len(raw) < 4 || raw[0] != 0xff || raw[1] != jpegSOI {
		return nil, 1
	}
	out := append(make([]byte, 0, len(raw)), 0xff, jpegSOI)
	orientation = 1
	place := len(out)
	scans := 0
	for i := 2; ; {
		for i < len(raw) && raw[i] == 0xff && i+1 < len(raw) && raw[i+1] == 0xff {
			i++ // fill bytes
		}
		if i+2 > len(raw) || raw[i] != 0xff {
			return nil, 1
		}
		marker := raw[i+1]
		i += 2
		if marker == jpegEOI {
			if scans == 0 {
				return nil, 1
			}
			out = append(out, 0xff, jpegEOI)
			break
		}
		if i+2 > len(raw) {
			return nil, 1
		}
		n := int(binary.BigEndian.Uint16(raw[i:]))
		if n < 2 || i+n > len(raw) {
			return nil, 1
		}
		body := raw[i+2 : i+n]
		i += n
		switch {
		case marker == jpegAPP0 && bytes.HasPrefix(body, []byte("JFIF\x00")) && len(body) >= 14:
			head := slices.Clone(body[:14])
			head[12], head[13] = 0, 0 // without its thumbnail
			out = appendSegment(out, marker, head)
			if place == 2 {
				place = len(out) // JFIF has to stand first
			}
		case marker == 0xe1:
			if bytes.HasPrefix(body, []byte(exifHead)) {
				orientation = orientationOf(body)
			}
		case marker == 0xe2 && bytes.HasPrefix(body, []byte("ICC_PROFILE\x00")), marker == 0xee && bytes.HasPrefix(body, []byte("Adobe")):
			out = appendSegment(out, marker, body)
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc8, marker >= 0xdb && marker <= 0xdd: // frames, tables, restarts
			out = appendSegment(out, marker, body)
		case marker == jpegSOS:
			out = appendSegment(out, marker, body)
			from := i
			for i+1 < len(raw) && (raw[i] != 0xff || raw[i+1] == 0 || raw[i+1] == 0xff || raw[i+1] >= 0xd0 && raw[i+1] <= 0xd7) {
				i++
			}
			out = append(out, raw[from:i]...)
			scans++
		case marker >= 0xe0 && marker <= 0xef, marker == 0xfe: // other applications, comments
		default:
			return nil, 1
		}
	}
	if orientation != 1 {
		exif := appendSegment(nil, 0xe1, append([]byte(exifHead), orientationExif(orientation)...))
		out = slices.Insert(out, place, exif...)
	}
	return out, orientation
}

func appendSegment(dst []byte, marker byte, body []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, 0xff, marker), uint16(len(body)+2))
	return append(dst, body...)
}

const pngHead = "\x89PNG\r\n\x1a\n"

// pngKept are the chunks that are kept (PNG, third edition, sections 11.2 and
// 11.3): pixels, palettes, colours, sizes and the frames of an animation.
const pngKept = " IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD pHYs acTL fcTL fdAT "

// stripPNG keeps the chunks of the list, and the orientation.
func stripPNG(raw []byte) (_ []byte, orientation int) {
	if !bytes.HasPrefix(raw, []byte(pngHead)) {
		return nil, 1
	}
	out := append(make([]byte, 0, len(raw)), pngHead...)
	orientation = 1
	pixels := false
	for b := raw[len(pngHead):]; ; {
		if len(b) < 12 {
			return nil, 1
		}
		n := uint64(binary.BigEndian.Uint32(b))
		if n > uint64(len(b)-12) {
			return nil, 1
		}
		name, data, chunk := string(b[4:8]), b[8:8+n], b[:12+n]
		if crc32.ChecksumIEEE(b[4:8+n]) != binary.BigEndian.Uint32(b[8+n:]) || (len(out) == len(pngHead)) != (name == "IHDR") {
			return nil, 1
		}
		b = b[12+n:]
		switch {
		case strings.Contains(pngKept, " "+name+" "):
			out = append(out, chunk...)
			pixels = pixels || name == "IDAT"
		case name == "eXIf":
			if o := orientationOf(data); o != 1 && orientation == 1 && !pixels {
				orientation = o
				exif := append([]byte(name), orientationExif(o)...)
				out = append(binary.BigEndian.AppendUint32(out, uint32(len(exif)-4)), exif...)
				out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(exif))
			}
		case name[0]&0x20 == 0: // a reader has to know it, and we do not
			return nil, 1
		}
		if name == "IEND" {
			if !pixels {
				return nil, 1
			}
			return out, orientation
		}
	}
}

// The flags of a WebP's VP8X chunk that say what else there is (RFC 9649, 2.7).
const (
	webpExif = 0x08
	webpXMP  = 0x04
)

// stripWebP keeps the chunks of pictures, and the orientation.
func stripWebP(raw []byte) (_ []byte, orientation int) {
	if len(raw) < 12 || string(raw[:4]) != "RIFF" || string(raw[8:12]) != "WEBP" {
		return nil, 1
	}
	size := uint64(binary.LittleEndian.Uint32(raw[4:]))
	if size < 4 || size > uint64(len(raw)-8) {
		return nil, 1
	}
	orientation = 1
	out, ok := stripChunks(append(make([]byte, 0, len(raw)), raw[:12]...), raw[12:8+size], &orientation)
	if !ok || len(out) < 20 {
		return nil, 1
	}
	if string(out[12:16]) == "VP8X" { // only then may there be Exif
		if len(out) < 30 {
			return nil, 1
		}
		out[20] &^= webpExif | webpXMP
		if orientation != 1 {
			out[20] |= webpExif
			out = appendChunk(out, "EXIF", orientationExif(orientation))
		}
	} else {
		orientation = 1
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, orientation
}

// stripChunks copies the chunks that make the picture, also those in the frames of
// an animation.
func stripChunks(out, b []byte, orientation *int) ([]byte, bool) {
	pixels := false
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, false
		}
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if n > uint64(len(b)-8) {
			return nil, false
		}
		name, data := string(b[:4]), b[8:8+n]
		b = b[min(8+n+n&1, uint64(len(b))):]
		switch name {
		case "VP8 ", "VP8L":
			pixels = true
			out = appendChunk(out, name, data)
		case "VP8X", "ALPH", "ANIM", "ICCP":
			out = appendChunk(out, name, data)
		case "ANMF":
			if len(data) < 16 {
				return nil, false
			}
			frame, ok := stripChunks(slices.Clone(data[:16]), data[16:], new(int))
			if !ok {
				return nil, false
			}
			pixels = true
			out = appendChunk(out, name, frame)
		case "EXIF":
			*orientation = orientationOf(data)
		}
	}
	return out, pixels
}

func appendChunk(dst []byte, name string, data []byte) []byte {
	dst = append(binary.LittleEndian.AppendUint32(append(dst, name...), uint32(len(data))), data...)
	if len(data)&1 == 1 {
		dst = append(dst, 0)
	}
	return dst
}
