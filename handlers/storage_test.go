package handlers

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
)

func TestStoragePage(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	admin.get("/settings/storage").want(t, "empty", 200, "No segments yet", "No keys yet", "kept 30 days", "!Set aside")

	span := trace.Span{TraceID: trace.ID{1}, SpanID: trace.SpanID{2}, Name: "GET /", Service: "web", StartUnixNano: s.Now().UnixNano(), DurationNano: 5}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		value := ""
		for range i + 1 { // which no packing makes shorter
			value += fmt.Sprintf("%016x", r.Uint64())
		}
		span.Attributes = append(span.Attributes, trace.Attribute{Key: fmt.Sprintf("app.key_%03d", i), Value: trace.String(value)})
	}
	span.Attributes = append(span.Attributes, trace.Attribute{Key: `"><script>alert(1)</script>`, Value: trace.Int(1)})
	if _, err := s.Store.Append(t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Raw: otlp.AppendSpans(nil, []trace.Span{span})}); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin.get("/settings/storage").want(t, "one segment", 200, "1 in all", "Show all", "app.key_119", "!app.key_000<", "!<script>alert")
	admin.get("/settings/storage?all=keys").want(t, "all keys", 200, "app.key_000<", "&lt;script&gt;alert", "!Show all")
}

// TestStorageView looks at what a running store does not have by itself.
func TestStorageView(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	st := tracestore.Storage{
		Stats: tracestore.Stats{DiskFull: true, DiskFullReason: "the disk is nearly full: 300 MiB free", LastFlushError: "no space left on device",
			SegmentRows: 1000, SegmentBytes: 60_000, EdgeBytes: 4_000, WaitingSegments: 3, CacheHitsTotal: 3, CacheMissesTotal: 1, OldestArrivedUnixNano: now.Add(-72 * time.Hour).UnixNano()},
		SetAside:    []tracestore.FileInfo{{Path: "segments/2026-11-23/a.parquet", Why: "corrupt at byte 96", SizeBytes: 2048}},
		Quarantined: []tracestore.FileInfo{{Path: "quarantine/b.parquet", Why: "not in the catalogue", GoneUnixNano: now.Add(24 * time.Hour).UnixNano()}},
		Retention:   tracestore.Retention{Spans: 30 * 24 * time.Hour, Edges: -1, Environments: []tracestore.EnvironmentAge{{Environment: "staging", Age: 36 * time.Hour}}},
	}
	for i := range 200 {
		st.SegmentList = append(st.SegmentList, tracestore.SegmentInfo{Path: fmt.Sprintf("segments/2026-11-23/s%03d.parquet", i), Rows: 10, SizeBytes: 600})
	}
	v := storageView(views.Settings{Page: views.Page{Now: now}}, st, tracestore.Keys{}, "")
	if len(v.Warnings) != 3 || !strings.Contains(v.Warnings[0], "300 MiB free. Reading goes on.") || !strings.Contains(v.Warnings[2], "--take-back") {
		t.Errorf("warnings %q", v.Warnings)
	}
	if len(v.Aside) != 2 || !v.Aside[0].Gone.IsZero() || !v.Aside[1].Gone.Equal(now.Add(24*time.Hour)) {
		t.Errorf("set aside %+v", v.Aside)
	}
	if len(v.Segments) != storageRows || v.AllSegments != 200 || v.SegmentsMore == "" || v.Segments[0].PerRow() != "60.0 B" {
		t.Errorf("%d of %d segments, more at %q, %s a row", len(v.Segments), v.AllSegments, v.SegmentsMore, v.Segments[0].PerRow())
	}
	if v := storageView(views.Settings{Page: views.Page{Now: now}}, st, tracestore.Keys{}, "segments"); len(v.Segments) != 200 || v.SegmentsMore != "" {
		t.Errorf("all segments: %d, more at %q", len(v.Segments), v.SegmentsMore)
	}
	facts := map[string]string{}
	for _, g := range v.Groups {
		for _, f := range g.Facts {
			facts[f.Name] = f.Value
		}
	}
	for name, want := range map[string]string{"Spans, since arrival": "30 days", "Spans in staging": "36 hours", "Links between traces": "for ever", "Size limit": "none", "Merging": "3 wait", "Cache hits": "75.0 %"} {
		if facts[name] != want {
			t.Errorf("%s: %q, want %q", name, facts[name], want)
		}
	}
	if v.Tiles[2].Value != "64.0 B" || v.Tiles[3].Value != "3 d ago" {
		t.Errorf("tiles %+v", v.Tiles)
	}
}

// What was in a damaged file is not called unsent or expired.
func TestTraceOfDamagedFile(t *testing.T) {
	dir := t.TempDir()
	log, _ := logtest.Start(t, t.TempDir())
	store, err := tracestore.Open(t.Context(), tracestore.Options{Dir: dir, Log: log, MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t, func(d *Deps) { d.Store, d.Graph = store, graph.New(store, graph.Options{}) })
	b := s.as(collab.RoleViewer)
	b.get("/t/"+boardTrace).want(t, "before anything came", 404, "Just sent?", "!Damaged?")
	s.addTrace()
	if err := store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*", "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatalf("segments %q, %v", files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Search(t.Context(), query.Search{AnyTime: true, Limit: 10}); err != nil {
		t.Fatal(err)
	}
	b.get("/t/"+boardTrace).want(t, "page", 404, "Damaged?", "of 1 file that had to be set aside")
	b.get("/thread/"+boardTrace).want(t, "thread", 200, "of 1 file that had to be set aside")
	b.get("/api/v1/traces/"+boardTrace).want(t, "API", 404, "of 1 file that had to be set aside")
}
