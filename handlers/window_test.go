package handlers

import (
	"net/url"
	"testing"
	"time"
)

func TestReadWindow(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		query    string
		from, to time.Time
		relative string
		bad      bool
	}{
		{"", now.Add(-time.Hour), now, "1h", false},
		{"range=90m", now.Add(-90 * time.Minute), now, "90m", false},
		{"range=7d&from=1&to=2", now.Add(-7 * 24 * time.Hour), now, "7d", false},
		{"range=600", now.Add(-10 * time.Minute), now, "600", false},
		{"from=2026-11-22T13:00&to=2026-11-22T13:30:01.5", now.Add(-time.Hour), now.Add(-30*time.Minute + 1500*time.Millisecond), "", false},
		{"from=2026-11-22T14:00:00%2B02:00", now.Add(-2 * time.Hour), now, "", false},
		{"from=1795352400.25&to=1795352401", time.UnixMicro(1795352400250000).UTC(), time.Unix(1795352401, 0).UTC(), "", false},
		{"range=0h", time.Time{}, time.Time{}, "", true},
		{"range=1y", time.Time{}, time.Time{}, "", true},
		{"range=99999999d", time.Time{}, time.Time{}, "", true},
		{"from=yesterday", time.Time{}, time.Time{}, "", true},
		{"from=2026-11-22T13:00&to=2026-11-22T13:00", time.Time{}, time.Time{}, "", true},
	} {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		w, err := readWindow(q, "1h", now)
		if c.bad {
			if err == nil {
				t.Errorf("%q: got %v, want an error", c.query, w)
			}
			continue
		}
		if err != nil || !w.From.Equal(c.from) || !w.To.Equal(c.to) || w.Range != c.relative {
			t.Errorf("%q: got %v, %v to %v (%v), want %q, %v to %v", c.query, w.Range, w.From, w.To, err, c.relative, c.from, c.to)
			continue
		}
		again := url.Values{}
		w.values(again)
		back, err := readWindow(again, "2h", now)
		if err != nil || back.Range != w.Range || !back.From.Equal(w.From) || !back.To.Equal(w.To) {
			t.Errorf("%q written as %q and read again: %+v (%v), want %+v", c.query, again.Encode(), back, err, w)
		}
	}
}

func TestFormatRange(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Minute: "90m", 48 * time.Hour: "2d", 61 * time.Second: "61s"} {
		if got := formatRange(d); got != want {
			t.Errorf("formatRange(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBucketStep(t *testing.T) {
	end := time.Unix(1_800_000_000, 0)
	for length, want := range map[time.Duration]int64{time.Second: 1, 2 * time.Minute: 1, time.Hour: 30, 24 * time.Hour: 900, 30 * 24 * time.Hour: 21600, 10 * 365 * 24 * time.Hour: 28 * 86400 * 2} {
		step := bucketStep(timeWindow{From: end.Add(-length), To: end}, 120)
		if n := length / (time.Duration(step) * time.Second); n > 121 {
			t.Errorf("%v in buckets of %d s are %d, want at most 120", length, step, n)
		}
		if length <= 30*24*time.Hour && step != want {
			t.Errorf("bucketStep(%v) = %d, want %d", length, step, want)
		}
	}
}
