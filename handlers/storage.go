package handlers

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/tracestore"
	"redthread/views"
	"redthread/views/ui"
)

// storageRows is how many keys and segments the page shows until it is asked for
// all of them.
const storageRows = 50

// showStorage answers GET /settings/storage; ?all=keys and ?all=segments show the
// whole of a table.
func (s *Server) showStorage(c echo.Context) error {
	frame, err := s.settings(c, views.TabStorage, "Storage", "What the span store holds, and how it is.")
	if err != nil {
		return err
	}
	frame.Page.Styles = []string{"css/storage.css"}
	st, err := s.Store.Storage(c.Request().Context())
	if err != nil {
		return err
	}
	keys, err := s.Store.Keys(c.Request().Context())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.StoragePage(storageView(frame, st, keys, c.QueryParam("all"))))
}

func storageView(frame views.Settings, st tracestore.Storage, keys tracestore.Keys, all string) views.Storage {
	v := views.Storage{Settings: frame, Warnings: storageWarnings(st), Tiles: storageTiles(st, frame.Page.Now), Groups: storageGroups(st)}
	for _, f := range slices.Concat(st.SetAside, st.Quarantined) {
		row := views.StorageFile{Path: f.Path, Why: f.Why, SizeBytes: f.SizeBytes}
		if f.GoneUnixNano > 0 {
			row.Gone = time.Unix(0, f.GoneUnixNano)
		}
		v.Aside = append(v.Aside, row)
	}
	v.AllKeys = len(keys.Keys)
	list := storageKeys(st, keys)
	if len(list) > storageRows && all != "keys" {
		list, v.KeysMore = list[:storageRows], "/settings/storage?all=keys#keys-title"
	}
	v.Keys = list
	v.AllSegments = len(st.SegmentList)
	segments := st.SegmentList
	if len(segments) > storageRows && all != "segments" {
		segments, v.SegmentsMore = segments[:storageRows], "/settings/storage?all=segments#segments-title"
	}
	for _, g := range segments {
		v.Segments = append(v.Segments, views.StorageSegment{
			Name: strings.TrimSuffix(path.Base(g.Path), path.Ext(g.Path)), Rows: g.Rows, SizeBytes: g.SizeBytes, Level: g.Level,
			From: time.Unix(0, g.MinStartUnixNano), To: time.Unix(0, g.MaxStartUnixNano), ArrivedLast: time.Unix(0, g.MaxArrivedUnixNano),
		})
	}
	return v
}

const putBack = "If there is a backup: stop the server, put back what is listed below, and run redthread check --take-back."

// storageWarnings says what an administrator has to look at.
func storageWarnings(st tracestore.Storage) []string {
	var w []string
	if st.DiskFull {
		w = append(w, "Ingest has stopped: "+asSentence(st.DiskFullReason)+" Reading goes on.")
	}
	if st.LastFlushError != "" {
		w = append(w, "Rows in memory cannot be written to a segment, it is tried again; they are safe in the ingest log. The reason: "+asSentence(st.LastFlushError))
	}
	if st.LastCompactionError != "" {
		w = append(w, "Segments cannot be merged, it is tried again. The reason: "+asSentence(st.LastCompactionError))
	}
	if n := len(st.SetAside); n == 1 {
		w = append(w, "A file is damaged and set aside; its rows cannot be found. "+putBack)
	} else if n > 1 {
		w = append(w, fmt.Sprintf("%d files are damaged and set aside; their rows cannot be found. ", n)+putBack)
	}
	return w
}

// asSentence makes a sentence of an error's text.
func asSentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

func storageTiles(st tracestore.Storage, now time.Time) []views.StorageTile {
	disk := st.SegmentBytes + st.EdgeBytes
	tiles := []views.StorageTile{
		{Label: "Rows", Value: ui.Count(st.SegmentRows + st.MemtableRows), Note: ui.Count(st.MemtableRows) + " in memory"},
		{Label: "On disk", Value: ui.Bytes(disk), Note: "of it links " + ui.Bytes(st.EdgeBytes)},
		{Label: "Bytes a row", Value: cmp.Or(views.BytesPerRow(disk, st.SegmentRows), "—"), Note: "all together"},
		{Label: "Oldest row", Value: "—", Note: "kept " + age(st.Retention.Spans)},
		{Label: "Free disk", Value: ui.Bytes(st.DiskFreeBytes), Note: "ingest stops below " + ui.Bytes(st.DiskMinFreeBytes)},
	}
	if st.OldestArrivedUnixNano > 0 {
		tiles[3].Value = ui.Ago(time.Unix(0, st.OldestArrivedUnixNano), now)
	}
	return tiles
}

func storageGroups(st tracestore.Storage) []views.StorageGroup {
	fact := func(name, value string) views.AboutFact { return views.AboutFact{Name: name, Value: value} }
	merging := "settled"
	switch {
	case st.Compacting:
		merging = "merging now"
	case st.WaitingSegments > 0:
		merging = fmt.Sprintf("%s wait", ui.Count(st.WaitingSegments))
	}
	hits := "—"
	if n := st.CacheHitsTotal + st.CacheMissesTotal; n > 0 {
		hits = fmt.Sprintf("%.1f %%", 100*float64(st.CacheHitsTotal)/float64(n))
	}
	flush := "none since the start"
	if st.FlushesTotal > 0 {
		flush = ui.Count(st.FlushesTotal) + " since the start"
	}
	kept := []views.AboutFact{fact("Spans, since arrival", age(st.Retention.Spans))}
	for _, e := range st.Retention.Environments {
		kept = append(kept, fact("Spans in "+e.Environment, age(e.Age)))
	}
	kept = append(kept, fact("Links between traces", age(st.Retention.Edges)), fact("Size limit", size(st.Retention.MaxDiskBytes)),
		fact("Rows gone by environment", ui.Count(st.ExpiredRowsTotal)))
	return []views.StorageGroup{
		{Title: "Ingest", Facts: []views.AboutFact{
			fact("Log of rows in no segment", ui.Bytes(st.Log.Bytes)), fact("Messages in the log", ui.Count(st.Log.Messages)), fact("Messages not findable yet", ui.Count(st.Log.Unapplied)),
			fact("Rows since the start", ui.Count(st.AppendedRowsTotal)), fact("Duplicates dropped", ui.Count(st.DuplicateRowsTotal)), fact("Rejected", ui.Count(st.RejectedRowsTotal)),
		}},
		{Title: "Memory", Facts: []views.AboutFact{
			fact("Tables of new rows", ui.Bytes(st.MemtableBytes)), fact("Decoded columns kept", ui.Bytes(st.CacheBytes)), fact("Cache hits", hits),
			fact("Bodies in flight", ui.Bytes(st.InFlightBytes)),
		}},
		{Title: "Segments", Facts: []views.AboutFact{
			fact("Segments", fmt.Sprintf("%s · %s", ui.Count(st.Segments), ui.Bytes(st.SegmentBytes))), fact("Runs of links", fmt.Sprintf("%s · %s", ui.Count(st.EdgeRuns), ui.Bytes(st.EdgeBytes))),
			fact("Written from memory", flush), fact("Merging", merging), fact("Rows written by merging", ui.Count(st.CompactedRowsTotal)),
		}},
		{Title: "Kept for", Facts: kept},
	}
}

func storageKeys(st tracestore.Storage, keys tracestore.Keys) []views.StorageKey {
	var total int64
	for _, k := range keys.Keys {
		total += k.SizeBytes
	}
	for _, p := range keys.Other {
		total += p.SizeBytes
	}
	row := func(name string, types string, rows, bytes int64, quiet bool) views.StorageKey {
		k := views.StorageKey{Key: name, Types: types, Rows: rows, SizeBytes: bytes, Quiet: quiet}
		if bytes > 0 && total > 0 {
			k.Share = fmt.Sprintf("%.1f %%", 100*float64(bytes)/float64(total))
			k.PerRow = views.BytesPerRow(bytes, st.SegmentRows)
		}
		return k
	}
	var list []views.StorageKey
	for _, k := range keys.Keys {
		list = append(list, row(k.Key, strings.Join(k.Types, ", "), k.Rows, k.SizeBytes, false))
	}
	for _, p := range keys.Other {
		if p.SizeBytes > 0 {
			list = append(list, row(p.Name, "", -1, p.SizeBytes, true))
		}
	}
	slices.SortStableFunc(list, func(a, b views.StorageKey) int { return cmp.Compare(b.SizeBytes, a.SizeBytes) })
	return list
}

// age prints how long something is kept.
func age(d time.Duration) string {
	if d <= 0 {
		return "for ever"
	}
	if days := d.Hours() / 24; days >= 2 {
		return fmt.Sprintf("%.4g days", days)
	}
	return fmt.Sprintf("%.4g hours", d.Hours())
}

func size(n int64) string {
	if n <= 0 {
		return "none"
	}
	return ui.Bytes(n)
}
