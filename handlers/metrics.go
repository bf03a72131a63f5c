package handlers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/labstack/echo/v4"

	"redthread/collab/notify"
)

// metricsTimeout bounds what is asked for one scrape.
const metricsTimeout = 5 * time.Second

// showMetrics prints the counters and sizes of every component in the text
// format of Prometheus (exposition format 0.0.4).
func (s *Server) showMetrics(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), metricsTimeout)
	defer cancel()
	var b bytes.Buffer
	writeStats(&b, "store", s.Store.Stats())
	writeStats(&b, "queries", s.Store.QueryStats())
	log, err := s.Store.LogStats(ctx)
	if err != nil {
		// A scrape without these lines says more than none at all.
		s.Log.WarnContext(ctx, "metrics of the ingest log", "error", err)
	} else {
		writeStats(&b, "ingest_log", log)
	}
	if s.Ingest != nil {
		writeStats(&b, "ingest", s.Ingest.Stats())
	}
	if s.Live != nil {
		writeStats(&b, "live", s.Live.Stats())
	}
	var sent notify.Stats
	if s.Notify != nil {
		sent = s.Notify.Stats()
	}
	writeStats(&b, "notifications", sent)
	return c.Blob(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", b.Bytes())
}

// metricHelp says what the metrics are. A test holds that none is missing.
var metricHelp = map[string]string{
	"store_appended_rows_total":              "Rows applied since the start, also by replay of the ingest log.",
	"store_acked_bytes_total":                "Bytes of bodies acknowledged since the start.",
	"store_duplicate_rows_total":             "Rows dropped because an equal one was stored.",
	"store_rejected_rows_total":              "Spans and log records that could not be taken.",
	"store_log_messages_total":               "Messages written to the ingest log; requests that wait together share one.",
	"store_flushes_total":                    "Tables in memory that became segments.",
	"store_flush_failures_total":             "Flushes that failed and are tried again.",
	"store_in_flight_bytes":                  "Bodies accepted and not yet in the ingest log.",
	"store_memtable_rows":                    "Rows in memory that are in no segment.",
	"store_memtable_bytes":                   "Memory of the tables that hold them.",
	"store_cache_bytes":                      "Decoded columns kept in memory.",
	"store_cache_hits_total":                 "Columns found decoded.",
	"store_cache_misses_total":               "Columns that had to be decoded.",
	"store_segments":                         "Segment files.",
	"store_segment_rows":                     "Rows in segments.",
	"store_segment_bytes":                    "Bytes of segments with their sidecars.",
	"store_edge_runs":                        "Files of links between traces.",
	"store_edge_bytes":                       "Bytes of them.",
	"store_disk_free_bytes":                  "Free bytes of the file system of the data folder.",
	"store_disk_min_free_bytes":              "Free bytes below which ingest stops.",
	"store_disk_full":                        "1 while ingest has stopped for the disk.",
	"store_applied_sequence":                 "Last message of the ingest log whose rows are findable.",
	"store_corrupt_files":                    "Files that could not be read and were set aside.",
	"store_last_flush_timestamp_seconds":     "When the last segment was written from memory; 0: not since the start.",
	"store_compactions_total":                "Merges of segments.",
	"store_compacted_rows_total":             "Rows written by merges.",
	"store_compacted_bytes_total":            "Bytes written by merges.",
	"store_expired_rows_total":               "Rows dropped because their environment keeps less.",
	"store_waiting_segments":                 "Segments that will be merged soon.",
	"store_compacting":                       "1 while segments are being merged.",
	"store_oldest_arrived_timestamp_seconds": "Arrival of the oldest row; 0: there is none.",
	"queries_running":                        "Queries, searches and comparisons that run.",
	"queries_waiting":                        "Queries that wait for others to end.",
	"queries_held_bytes":                     "Memory that the running ones take.",
	"queries_begun_total":                    "Queries begun.",
	"queries_refused_total":                  "Queries told to come back later.",
	"ingest_log_messages":                    "Messages of the ingest log that are not trimmed.",
	"ingest_log_bytes":                       "Bytes of them.",
	"ingest_log_unapplied":                   "Messages whose rows are not findable yet.",
	"ingest_requests_total":                  "Export requests, HTTP and gRPC.",
	"ingest_refused_requests_total":          "Export requests answered with an error.",
	"ingest_received_bytes_total":            "Bytes of bodies, decompressed.",
	"ingest_spans_total":                     "Spans and log records accepted.",
	"ingest_rejected_total":                  "Spans and log records rejected.",
	"ingest_metric_points_total":             "Metric points, which are accepted and dropped.",
	"ingest_in_flight_bytes":                 "Bodies being read and handled.",
	"live_rooms":                             "Investigations that somebody looks at.",
	"live_subscribers":                       "Open websockets.",
	"notifications_delivered_total":          "Notifications that Slack or another target has taken.",
	"notifications_failed_total":             "Notifications given up after the last attempt.",
	"notifications_attempts_total":           "Attempts to deliver one.",
}

// writeStats prints the fields of a Stats struct: numbers and switches as they
// are, lists by their length, moments in seconds, text not at all. A name that
// ends in Total is a counter.
func writeStats(b *bytes.Buffer, component string, stats any) {
	v := reflect.ValueOf(stats)
	for i := range v.NumField() {
		name := component + "_" + snakeCase(v.Type().Field(i).Name)
		var value any
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			value = 0
			if f.Bool() {
				value = 1
			}
		case reflect.Slice, reflect.Map:
			value = f.Len()
		case reflect.String:
			continue
		default:
			value = f.Interface()
			if moment, ok := strings.CutSuffix(name, "_unix_nano"); ok {
				name, value = moment+"_timestamp_seconds", fmt.Sprintf("%.3f", float64(f.Int())/1e9)
			}
		}
		kind := "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		if help := metricHelp[name]; help != "" {
			fmt.Fprintf(b, "# HELP redthread_%s %s\n", name, help)
		}
		fmt.Fprintf(b, "# TYPE redthread_%s %s\nredthread_%s %v\n", name, kind, name, value)
	}
}

func snakeCase(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// fromThisMachine reports whether the request comes from a process beside us
// and not through a proxy.
func fromThisMachine(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && remote.Addr().Unmap().IsLoopback()
}
