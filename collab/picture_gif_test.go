package collab

import (
	"bytes"
	"image"
	"image/color/palette"
	"image/gif"
	"testing"
)

// A GIF keeps its frames and loses what it says beside them; what is cut short, or
// draws outside of its screen, is none.
func TestGIF(t *testing.T) {
	frame := image.NewPaletted(image.Rect(0, 0, 20, 10), palette.Plan9)
	for i := range frame.Pix {
		frame.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{5, 5}}); err != nil {
		t.Fatal(err)
	}
	plain := b.Bytes()
	head := 13 + gifColours(plain[10])
	comment := append([]byte{0x21, 0xfe, byte(len(hidden))}, hidden...)
	application := append([]byte("\x21\xff\x0bXMP DataXMP"), append([]byte{byte(len(hidden))}, hidden...)...)
	times := append([]byte{0x21, 0xf9, 4, 0, 5, 0, 0, byte(len(hidden))}, hidden...)
	loops := append([]byte("\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00"), comment[2:]...)
	said := bytes.Join([][]byte{plain[:head], comment, {0}, application, {0}, times, {0}, loops, {0}, plain[head:], []byte(hidden)}, nil)
	for name, raw := range map[string][]byte{"plain": plain, "with more in it": said} {
		p, kept, err := readPicture(raw)
		if err != nil || p.Type != "image/gif" || p.Width != 20 || p.Height != 10 || !bytes.Equal(kept, plain) {
			t.Errorf("%s: %+v, %d bytes kept of %d, %v; want the %d of the picture", name, p, len(kept), len(raw), err, len(plain))
		}
	}
	again, err := gif.DecodeAll(bytes.NewReader(stripGIF(said)))
	if err != nil || len(again.Image) != 2 || again.LoopCount != 0 {
		t.Fatalf("what was kept: %v, %v; want two frames, for ever", again, err)
	}
	for n := range plain {
		if _, kept, err := readPicture(plain[:n]); err == nil {
			t.Fatalf("%d of %d bytes are a picture of %d bytes", n, len(plain), len(kept))
		}
	}
	outside := bytes.Clone(plain)
	outside[6] = 19 // a screen narrower than its frame
	if _, _, err := readPicture(outside); err == nil {
		t.Error("a frame that does not fit the screen was taken")
	}
}
