package collab

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	_ "image/gif"  // DecodeConfig reads the size of a GIF
	_ "image/jpeg" // of a JPEG
	_ "image/png"  // and of a PNG
)

// Bounds of a picture (DESIGN.md §10). The sides bound what a browser has to
// unpack: 16,384 is the longest side that browsers draw everywhere.
const (
	MaxPictureBytes = 5 << 20
	maxPictureSide  = 16_384
)

// PictureInfo is what is known of a picture without its bytes.
type PictureInfo struct {
	SHA256    string `json:"sha256"`
	Type      string `json:"type"`  // image/png, image/jpeg, image/gif or image/webp
	Width     int    `json:"width"` // as shown, upright
	Height    int    `json:"height"`
	SizeBytes int    `json:"size_bytes"`
}

// Picture is a picture as it is kept: as it was sent, but for what it said beside
// its pixels (see stripPicture).
type Picture struct {
	PictureInfo
	Body []byte
}

// readPicture finds out by its first bytes, never by a name or header, what a
// picture is, and returns it as it is to be kept.
func readPicture(raw []byte) (PictureInfo, []byte, error) {
	bad := &InvalidError{"picture", "A picture is a PNG, JPEG, GIF or WebP file."}
	switch {
	case len(raw) == 0:
		return PictureInfo{}, nil, &InvalidError{"picture", "Choose a picture first: PNG, JPEG, GIF or WebP."}
	case len(raw) > MaxPictureBytes:
		return PictureInfo{}, nil, &InvalidError{"picture", "That picture is too large: at most 5 MB."}
	}
	var p PictureInfo
	switch {
	case bytes.HasPrefix(raw, []byte(pngHead)):
		p.Type = "image/png"
	case bytes.HasPrefix(raw, []byte("\xff\xd8\xff")):
		p.Type = "image/jpeg"
	case bytes.HasPrefix(raw, []byte(gifHead87)), bytes.HasPrefix(raw, []byte(gifHead89)):
		p.Type = "image/gif"
	case len(raw) >= 30 && string(raw[:4]) == "RIFF" && string(raw[8:12]) == "WEBP":
		p.Type = "image/webp"
		p.Width, p.Height = webpSize(raw)
	default:
		return p, nil, bad
	}
	if p.Type != "image/webp" {
		c, _, err := image.DecodeConfig(bytes.NewReader(raw))
		if err != nil {
			return p, nil, bad
		}
		p.Width, p.Height = c.Width, c.Height
	}
	if p.Width <= 0 || p.Height <= 0 {
		return p, nil, bad
	}
	if p.Width > maxPictureSide || p.Height > maxPictureSide {
		return p, nil, &InvalidError{"picture", "That picture is too large: at most 16,384 pixels to a side."}
	}
	kept, orientation := stripPicture(p.Type, raw)
	if kept == nil {
		return p, nil, &InvalidError{"picture", "That picture is damaged or cut short: save it again, and send that."}
	}
	if orientation >= 5 { // it lies on its side
		p.Width, p.Height = p.Height, p.Width
	}
	p.SHA256, p.SizeBytes = hashHex(kept), len(kept)
	return p, kept, nil
}

// webpSize reads the size from the first chunk of a WebP file of at least 30
// bytes (RFC 9649, sections 2.5 to 2.7), zero if it makes no sense.
func webpSize(raw []byte) (width, height int) {
	const fourteen = 1<<14 - 1
	switch string(raw[12:16]) {
	case "VP8 ": // a key frame: 3 bytes of tag, the start code, two sizes of 14 bits
		if string(raw[23:26]) != "\x9d\x01\x2a" {
			return 0, 0
		}
		return int(binary.LittleEndian.Uint16(raw[26:])) & fourteen, int(binary.LittleEndian.Uint16(raw[28:])) & fourteen
	case "VP8L": // a signature byte, then two sizes of 14 bits, each less one
		if raw[20] != 0x2f {
			return 0, 0
		}
		bits := binary.LittleEndian.Uint32(raw[21:])
		return int(bits&fourteen) + 1, int(bits>>14&fourteen) + 1
	case "VP8X": // flags, then two sizes of 24 bits, each less one
		three := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
		return three(raw[24:]) + 1, three(raw[27:]) + 1
	}
	return 0, 0
}

func (w *work) insertPicture(ctx context.Context, b *Block, raw []byte) error {
	_, err := w.tx.ExecContext(ctx, `INSERT INTO pictures (block_id, sha256, type, width, height, bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		b.ID, b.Picture.SHA256, b.Picture.Type, b.Picture.Width, b.Picture.Height, b.Picture.SizeBytes, raw)
	if err != nil {
		return fmt.Errorf("insert picture: %w", err)
	}
	return nil
}

// PictureByBlock returns the picture of a block, or [ErrNotFound].
func (s *Store) PictureByBlock(ctx context.Context, id InvestigationID, block BlockID) (*Picture, error) {
	if err := s.MaySee(ctx, id); err != nil {
		return nil, err
	}
	var p Picture
	err := s.read.QueryRowContext(ctx, `SELECT p.sha256, p.type, p.width, p.height, p.bytes, p.body FROM pictures p
		JOIN blocks b ON b.id = p.block_id WHERE b.id = ? AND b.investigation_id = ? AND b.deleted_at = 0`, block, id).
		Scan(&p.SHA256, &p.Type, &p.Width, &p.Height, &p.SizeBytes, &p.Body)
	if err != nil {
		return nil, fmt.Errorf("picture of %s: %w", block, translate(err))
	}
	return &p, nil
}
