package collab

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"slices"
	"strings"
	"testing"
)

// hidden is what no stripped picture may hold.
const hidden = "51.5007 N 0.1246 W, taken by Ana"

// exifOf is Exif data as a phone writes it: in the byte order, with a tag before
// the orientation, a pointer to GPS data behind it, and text.
func exifOf(order binary.AppendByteOrder, o int) []byte {
	b := []byte("MM\x00\x2a")
	if order.AppendUint16(nil, 1)[0] == 1 {
		b = []byte("II\x2a\x00")
	}
	b = order.AppendUint32(b, 10)
	b = order.AppendUint16(append(b, "??"...), 3)
	entry := func(tag, kind uint16, value uint32) {
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, tag), kind), 1)
		if kind == 3 {
			b = append(order.AppendUint16(b, uint16(value)), 0, 0)
		} else {
			b = order.AppendUint32(b, value)
		}
	}
	entry(0x010f, 4, 40)
	entry(0x0112, 3, uint32(o))
	entry(0x8825, 4, 60)
	return append(order.AppendUint32(b, 0), hidden...)
}

func pixels(w, h int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 7)
	}
	for x := range w {
		m.Set(x, 0, color.RGBA{uint8(x * 9), 50, 200, 255})
	}
	return m
}

// jpegOf is a JPEG with the segments behind its first marker, and more behind its end.
func jpegOf(t testing.TB, behind string, segments ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, pixels(20, 10), nil); err != nil {
		t.Fatal(err)
	}
	return append(slices.Insert(b.Bytes(), 2, bytes.Join(segments, nil)...), behind...)
}

func pngChunk(name, data string) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), name+data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(name+data)))
}

// pngWith is a PNG with chunks behind its head, and more behind its end.
func pngWith(t testing.TB, behind string, chunks ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, pixels(20, 10)); err != nil {
		t.Fatal(err)
	}
	return append(slices.Insert(b.Bytes(), 33, bytes.Join(chunks, nil)...), behind...)
}

// The smallest WebP files of each kind, made by libwebp.
const (
	webpLossy    = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA"
	webpLossless = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="
	webpAlpha    = "UklGRkoAAABXRUJQVlA4WAoAAAAQAAAAAAAAAAAAQUxQSAwAAAARBxAR/Q9ERP8DAABWUDggGAAAABQBAJ0BKgEAAQAAAP4AAA3AAP7mtQAAAA=="
	webpMoving   = "UklGRlIAAABXRUJQVlA4WAoAAAASAAAAAAAAAAAAQU5JTQYAAAD/////AABBTk1GJgAAAAAAAAAAAAAAAAAAAGQAAABWUDhMDQAAAC8AAAAQBxAREYiI/gcA"
)

// webpWith is one of them with more chunks behind, announced by flags if it has such.
func webpWith(t testing.TB, file string, flags byte, chunks ...[]byte) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw[12:16]) == "VP8X" {
		raw[20] |= flags
	}
	raw = append(raw, bytes.Join(chunks, nil)...)
	binary.LittleEndian.PutUint32(raw[4:], uint32(len(raw)-8))
	return raw
}

func TestPicturesSayNothingBesideTheirPixels(t *testing.T) {
	xmp := []byte("http://ns.adobe.com/xap/1.0/\x00<x>" + hidden)
	segment := func(marker byte, text string) []byte { return appendSegment(nil, marker, []byte(text)) }
	exif6 := segment(0xe1, exifHead+string(exifOf(binary.BigEndian, 6)))
	jfif := segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x02\x02"+hidden)
	icc := segment(0xe2, "ICC_PROFILE\x00\x01\x01profile")
	jpegMore := [][]byte{appendSegment(nil, 0xe1, xmp), segment(0xed, "Photoshop 3.0\x00"+hidden), segment(0xfe, hidden), segment(0xe2, "MPF\x00"+hidden), segment(0xef, hidden)}
	pngMore := [][]byte{pngChunk("tEXt", "Comment\x00"+hidden), pngChunk("zTXt", hidden), pngChunk("iTXt", hidden), pngChunk("tIME", hidden[:7]), pngChunk("caBX", hidden)}
	webpMore := [][]byte{appendChunk(nil, "XMP ", xmp), appendChunk(nil, "ABCD", []byte(hidden))}
	for _, tt := range []struct {
		name        string
		raw, want   []byte // want: what it has to be, nil: whatever
		orientation int
		w, h        int
	}{
		{"jpeg from a phone", jpegOf(t, hidden, append([][]byte{exif6}, jpegMore...)...), nil, 6, 10, 20},
		{"jpeg, little endian, mirrored", jpegOf(t, "", segment(0xe1, exifHead+string(exifOf(binary.LittleEndian, 2)))), nil, 2, 20, 10},
		{"jpeg, upright", jpegOf(t, hidden, append(jpegMore, segment(0xe1, exifHead+string(exifOf(binary.BigEndian, 1))))...), jpegOf(t, ""), 1, 20, 10},
		{"jpeg, an orientation that is none", jpegOf(t, "", segment(0xe1, exifHead+string(exifOf(binary.BigEndian, 9)))), jpegOf(t, ""), 1, 20, 10},
		{"jpeg, the profile stays", jpegOf(t, "", jfif, icc), jpegOf(t, "", segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"), icc), 1, 20, 10},
		{"jpeg, JFIF first", jpegOf(t, "", jfif, exif6), jpegOf(t, "", segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
			segment(0xe1, exifHead+string(orientationExif(6)))), 6, 10, 20},
		{"png", pngWith(t, hidden, pngMore...), pngWith(t, ""), 1, 20, 10},
		{"png, turned", pngWith(t, hidden, pngChunk("eXIf", string(exifOf(binary.BigEndian, 8))), pngMore[0]), pngWith(t, "", pngChunk("eXIf", string(orientationExif(8)))), 8, 10, 20},
		{"png, its colours stay", pngWith(t, "", pngChunk("gAMA", "\x00\x00\xb1\x8f"), pngMore[1]), pngWith(t, "", pngChunk("gAMA", "\x00\x00\xb1\x8f")), 1, 20, 10},
		{"webp lossy", webpWith(t, webpLossy, 0, webpMore...), webpWith(t, webpLossy, 0), 1, 1, 1},
		{"webp lossless", webpWith(t, webpLossless, 0, webpMore...), webpWith(t, webpLossless, 0), 1, 1, 1},
		{"webp with alpha", webpWith(t, webpAlpha, webpXMP|webpExif, webpMore...), webpWith(t, webpAlpha, 0), 1, 1, 1},
		{"webp, turned", webpWith(t, webpAlpha, webpXMP|webpExif, append(webpMore, appendChunk(nil, "EXIF", exifOf(binary.LittleEndian, 6)))...),
			webpWith(t, webpAlpha, webpExif, appendChunk(nil, "EXIF", orientationExif(6))), 6, 1, 1},
		{"webp that moves", webpWith(t, webpMoving, webpXMP, webpMore...), webpWith(t, webpMoving, 0), 1, 1, 1},
	} {
		p, kept, err := readPicture(tt.raw)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if bytes.Contains(kept, []byte(hidden)) || bytes.Contains(kept, []byte("xap")) || tt.want != nil && !bytes.Equal(kept, tt.want) {
			t.Errorf("%s: kept %q", tt.name, kept)
		}
		again, orientation := stripPicture(p.Type, kept)
		if !bytes.Equal(again, kept) || orientation != tt.orientation || p.Width != tt.w || p.Height != tt.h || p.SHA256 != hashHex(kept) || p.SizeBytes != len(kept) {
			t.Errorf("%s: orientation %d, %+v; want %d, %d × %d", tt.name, orientation, p, tt.orientation, tt.w, tt.h)
		}
		if p.Type == "image/webp" {
			continue
		}
		was, _, err1 := image.Decode(bytes.NewReader(tt.raw))
		is, _, err2 := image.Decode(bytes.NewReader(kept))
		if err1 != nil || err2 != nil || !equalPixels(was, is) {
			t.Errorf("%s: the pixels changed (%v, %v)", tt.name, err1, err2)
		}
	}
}

func equalPixels(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			if a.At(x, y) != b.At(x, y) {
				return false
			}
		}
	}
	return true
}

func TestDamagedPicturesAreRefused(t *testing.T) {
	good := map[string][]byte{"jpeg": jpegOf(t, ""), "png": pngWith(t, ""), "webp": webpWith(t, webpAlpha, 0)}
	for name, raw := range good {
		for n := range len(raw) { // each way to cut it short
			if _, _, err := readPicture(raw[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes is taken", name, n, len(raw))
			}
		}
	}
	for name, raw := range map[string][]byte{
		"a checksum": append(slices.Clone(good["png"][:40]), append([]byte{good["png"][40] ^ 1}, good["png"][41:]...)...),
		"a chunk that we do not know and a reader must": pngWith(t, "", pngChunk("ABCD", "x")),
		"a second head":           pngWith(t, "", good["png"][8:33]),
		"a length beyond the end": slices.Insert(slices.Clone(good["jpeg"]), 2, 0xff, 0xe5, 0xff, 0xff),
		"a length of nothing":     slices.Insert(slices.Clone(good["jpeg"]), 2, 0xff, 0xe5, 0, 1),
		"a marker of no use":      slices.Insert(slices.Clone(good["jpeg"]), 2, 0xff, 0x02, 0, 2),
	} {
		_, _, err := readPicture(raw)
		wantInvalid(t, name, err, "picture")
	}
	_, _, err := readPicture(good["jpeg"][:300])
	if err == nil || !strings.Contains(err.Error(), "picture") {
		t.Errorf("a picture cut short: %v", err)
	}
}

// FuzzStripPicture: what is kept of anything is a picture that stays as it is, and
// of the same size.
func FuzzStripPicture(f *testing.F) {
	f.Add(jpegOf(f, hidden, appendSegment(nil, 0xe1, append([]byte(exifHead), exifOf(binary.BigEndian, 6)...))))
	f.Add(pngWith(f, hidden, pngChunk("eXIf", string(exifOf(binary.LittleEndian, 8))), pngChunk("tEXt", hidden)))
	for _, file := range []string{webpLossy, webpLossless, webpAlpha, webpMoving} {
		f.Add(webpWith(f, file, webpExif, appendChunk(nil, "EXIF", exifOf(binary.BigEndian, 3))))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		p, kept, err := readPicture(raw)
		if err != nil {
			return
		}
		again, second, err := readPicture(kept)
		if err != nil || again != p || !bytes.Equal(second, kept) || len(kept) > len(raw)+40 {
			t.Errorf("%d bytes became %d (%+v), and those %d (%+v), %v", len(raw), len(kept), p, len(second), again, err)
		}
	})
}
