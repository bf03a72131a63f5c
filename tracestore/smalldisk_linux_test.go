package tracestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// TestSmallDisk fills a real file system of 64 MiB and frees it again. Mounting
// one takes root; without it TestDiskGuard alone covers the guard.
func TestSmallDisk(t *testing.T) {
	mount := mountSmall(t, "64m")
	checkLeaks(t)
	ballast := filepath.Join(mount, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 24<<20), 0o644))
	h := &harness{t: t, dir: filepath.Join(mount, "data"), logDir: filepath.Join(mount, "log"), opts: Options{MinFreeBytes: 16 << 20}}
	h.open(nil)
	defer h.stop()
	batch := func(n int) []trace.Span {
		spans := testSpans(n*30, 30)
		for i := range spans {
			spans[i].Attributes = append(spans[i].Attributes, trace.Attribute{Key: "pad", Value: trace.String(strings.Repeat("x", 20<<10))})
		}
		return spans
	}
	n := 0
	var err error
	for ; err == nil; n++ {
		if n == 1000 {
			t.Fatal("600 MB fit into 64 MiB")
		}
		_, err = h.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, batch(n))})
	}
	if !errors.Is(err, ErrDiskFull) {
		t.Fatalf("append on a full disk: got %v, want ErrDiskFull", err)
	}
	full := n - 1
	t.Logf("full after %d batches: %v", full, err)
	if full == 0 {
		t.Fatal("nothing was taken in")
	}
	h.settle()
	h.want(batch(0))
	must(t, os.Remove(ballast))
	h.wait("free again", func() bool { return !h.Stats().DiskFull })
	h.append(batch(full))
	h.settle()
	h.reopen()
	for i := range full + 1 {
		h.want(batch(i))
	}
	h.wantRows(30 * (full + 1))
}
