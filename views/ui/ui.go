// Package ui holds the small components that pages share: icon, badge, time,
// copy button, empty state, field. Their looks are in static/css/components.css.
package ui

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DayClock is the time of day of t in UTC, with the date if that is not now's; the
// same as dayClock of static/js/time.js.
func DayClock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch {
	case t.Year() != now.Year():
		return t.Format("2 Jan 2006 15:04")
	case t.YearDay() != now.YearDay():
		return t.Format("2 Jan 15:04")
	}
	return t.Format("15:04")
}

// Day is the day of t in UTC, with the year if that is not now's; the same as day of
// static/js/time.js.
func Day(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Year() != now.Year() {
		return t.Format("Mon 2 Jan 2006")
	}
	return t.Format("Mon 2 Jan")
}

// Ago says how long before now t was, in words: "just now", "3 min ago".
func Ago(t, now time.Time) string {
	d := now.Sub(t)
	future := d < 0
	if future {
		d = -d
	}
	var s string
	switch {
	case d < 45*time.Second:
		return "just now"
	case d < 90*time.Minute:
		s = fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	case d < 36*time.Hour:
		s = fmt.Sprintf("%d h", int(d.Round(time.Hour)/time.Hour))
	default:
		s = fmt.Sprintf("%d d", int(d.Round(24*time.Hour)/(24*time.Hour)))
	}
	if future {
		return "in " + s
	}
	return s + " ago"
}

// Duration prints nanoseconds with three significant digits and a fitting unit.
func Duration(nano int64) string {
	if nano < 0 {
		return "-" + Duration(-nano)
	}
	switch f := float64(nano); {
	case nano < 1_000:
		return strconv.FormatInt(nano, 10) + " ns"
	case nano < 999_500:
		return significant(f/1e3) + " µs"
	case nano < 999_500_000:
		return significant(f/1e6) + " ms"
	case nano < 60_000_000_000:
		return significant(f/1e9) + " s"
	}
	d := time.Duration(nano)
	if d < time.Hour {
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	if d < 48*time.Hour {
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

func significant(f float64) string {
	prec := 2
	if f >= 99.95 {
		prec = 0
	} else if f >= 9.995 {
		prec = 1
	}
	s := strconv.FormatFloat(f, 'f', prec, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// Count prints a whole number with its thousands apart: "12,408,211".
func Count[N ~int | ~int32 | ~int64 | ~uint64](n N) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Bytes prints a size in binary units with three significant digits.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return significant(f) + " " + units[i]
}
