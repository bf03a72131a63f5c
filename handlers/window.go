package handlers

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timeWindow is the time range of a page as its address says it: relative
// ("range=1h", ending now) or else absolute ("from" and "to", seconds since the epoch).
type timeWindow struct {
	Range    string // "1h"; empty if absolute
	From, To time.Time
}

var rangeText = regexp.MustCompile(`^([1-9][0-9]{0,8})(s|m|h|d|w)?$`)

// maxRange is the longest relative range: ten years, beyond which nothing is kept.
const maxRange = 10 * 366 * 24 * time.Hour

// readWindow reads range, from and to. Without any it is the fallback range.
// now ends a relative range.
func readWindow(q url.Values, fallback string, now time.Time) (timeWindow, error) {
	if r := strings.TrimSpace(q.Get("range")); r != "" {
		return relativeWindow(r, now)
	}
	from, to := strings.TrimSpace(q.Get("from")), strings.TrimSpace(q.Get("to"))
	if from == "" {
		return relativeWindow(fallback, now)
	}
	w := timeWindow{To: now}
	var err error
	if w.From, err = parseMoment(from); err != nil {
		return w, err
	}
	if to != "" {
		if w.To, err = parseMoment(to); err != nil {
			return w, err
		}
	}
	if !w.From.Before(w.To) {
		return w, textError("The time range ends before it begins.")
	}
	return w, nil
}

func relativeWindow(text string, now time.Time) (timeWindow, error) {
	d, ok := parseRange(text)
	if !ok {
		return timeWindow{}, textError("Write the time range as a number and s, m, h, d or w, as in 90m.")
	}
	return timeWindow{Range: text, From: now.Add(-d), To: now}, nil
}

// parseRange reads "90m", "7d" or plain seconds.
func parseRange(s string) (time.Duration, bool) {
	m := rangeText.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, false
	}
	unit := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[2]]
	if n > int64(maxRange/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// formatRange is the shortest text parseRange reads back.
func formatRange(d time.Duration) string {
	secs := int64(d / time.Second)
	for _, u := range []struct {
		secs int64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if secs >= u.secs && secs%u.secs == 0 {
			return strconv.FormatInt(secs/u.secs, 10) + u.name
		}
	}
	return strconv.FormatInt(secs, 10) + "s"
}

// parseMoment reads seconds since the epoch, or a date and time (UTC if no zone
// is given).
func parseMoment(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > -1e11 && f < 1e11 {
		return time.UnixMicro(int64(f * 1e6)).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, textError("Write a time as 2026-11-22T14:03 (UTC), or as seconds since 1970.")
}

// values sets the window's parameters.
func (w timeWindow) values(q url.Values) {
	q.Del("range")
	q.Del("from")
	q.Del("to")
	if w.Range != "" {
		q.Set("range", w.Range)
		return
	}
	q.Set("from", epochSeconds(w.From))
	q.Set("to", epochSeconds(w.To))
}

// length is the duration of the window.
func (w timeWindow) length() time.Duration { return w.To.Sub(w.From) }

// epochSeconds prints a time as seconds since the epoch, to the microsecond.
func epochSeconds(t time.Time) string {
	return strconv.FormatFloat(secondsOf(t), 'f', -1, 64)
}

// secondsOf is a time in seconds since the epoch, to the microsecond.
func secondsOf(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// bucketSteps are the widths of chart buckets, in seconds, that fall on round times.
var bucketSteps = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
	86400, 7 * 86400, 28 * 86400}

// bucketStep is the narrowest round width that cuts the window into at most n buckets.
func bucketStep(w timeWindow, n int) int64 {
	for _, s := range bucketSteps {
		if w.length() <= time.Duration(s)*time.Second*time.Duration(n) {
			return s
		}
	}
	return max(int64(w.length()/time.Second)/int64(n), 1)
}
