package tracestore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStorage(t *testing.T) {
	h := start(t, Options{SpanRetention: 48 * time.Hour, EdgeRetention: -1, MaxDiskBytes: 1 << 30, EnvironmentRetention: map[string]time.Duration{"staging": time.Hour, "dev": time.Minute}})
	got, err := h.Storage(t.Context())
	must(t, err)
	if len(got.SegmentList) != 0 || got.Log.Messages != 0 || got.OldestArrivedUnixNano != 0 {
		t.Errorf("an empty store: %+v", got)
	}
	h.append(testSpans(0, 60))
	must(t, h.Flush(t.Context()))
	h.append(testSpans(60, 60))
	must(t, h.Flush(t.Context()))
	h.append(testSpans(120, 30))
	h.settle()
	must(t, os.WriteFile(filepath.Join(h.dir, quarantineDir, "stray.parquet"), []byte("bytes"), 0o644))
	got, err = h.Storage(t.Context())
	must(t, err)
	if len(got.SegmentList) != 2 || got.SegmentRows != 120 || got.MemtableRows != 30 {
		t.Errorf("%d segments with %d rows, %d in memory; want 2, 120, 30", len(got.SegmentList), got.SegmentRows, got.MemtableRows)
	}
	for i, s := range got.SegmentList {
		if s.Rows != 60 || s.SizeBytes == 0 || s.MinStartUnixNano != testClock.UnixNano()+int64(1-i)*60e6 || s.MaxStartUnixNano <= s.MinStartUnixNano || s.MaxArrivedUnixNano == 0 {
			t.Errorf("segment %d: %+v; want 60 rows, the newest segment first", i, s)
		}
	}
	if got.Log.Messages != 1 || got.Log.Bytes == 0 || got.Log.Unapplied != 0 {
		t.Errorf("log %+v; want the one message that is not in a segment", got.Log)
	}
	if len(got.Quarantined) != 1 || got.Quarantined[0].Path != "quarantine/stray.parquet" || got.Quarantined[0].SizeBytes != 5 || got.Quarantined[0].GoneUnixNano < time.Now().UnixNano() {
		t.Errorf("quarantine %+v", got.Quarantined)
	}
	r := got.Retention
	if r.Spans != 48*time.Hour || r.Edges != -1 || r.MaxDiskBytes != 1<<30 || len(r.Environments) != 2 || r.Environments[0].Environment != "dev" {
		t.Errorf("retention %+v", r)
	}

	keys, err := h.Keys(t.Context())
	must(t, err)
	rows := map[string]int64{}
	var sum int64
	for i, k := range keys.Keys {
		rows[k.Key] = k.Rows
		sum += k.SizeBytes
		if i > 0 && k.SizeBytes > keys.Keys[i-1].SizeBytes {
			t.Errorf("%s takes more than the key before it", k.Key)
		}
	}
	for _, p := range keys.Other {
		sum += p.SizeBytes
	}
	if rows["name"] != 150 || rows["http.route"] != 50 || rows["request.id"] != 150 {
		t.Errorf("rows by key %v; want 150 with a name, 50 with a route", rows)
	}
	if sum == 0 || sum > got.SegmentBytes {
		t.Errorf("columns take %d bytes, the segments %d", sum, got.SegmentBytes)
	}

	path := got.SegmentList[0].Path
	h.stop()
	h.broken = true
	must(t, os.Truncate(filepath.Join(h.dir, path), 100))
	h.open(nil)
	keys, err = h.Keys(t.Context()) // finds it
	must(t, err)
	for _, k := range keys.Keys {
		if k.Key == "name" && k.Rows != 90 {
			t.Errorf("%d rows have a name, want the 60 that can be read and those in memory", k.Rows)
		}
	}
	got, err = h.Storage(t.Context())
	must(t, err)
	if len(got.SetAside) != 1 || got.SetAside[0].Path != path || got.SetAside[0].SizeBytes != 100 || got.SetAside[0].Why == "" || strings.Contains(got.SetAside[0].Why, path) {
		t.Errorf("set aside %+v; want %s with a reason", got.SetAside, path)
	}
}
