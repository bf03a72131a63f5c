package ui

import (
	"strings"
	"testing"
	"time"
)

// The same table is in static/js/time.test.js.
func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)
	for _, c := range []struct {
		seconds int
		want    string
	}{
		{0, "just now"}, {44, "just now"}, {45, "1 min ago"}, {119, "2 min ago"}, {3600, "60 min ago"}, {5400, "2 h ago"}, {86400, "24 h ago"},
		{129600, "2 d ago"}, {86400 * 40, "40 d ago"}, {-30, "just now"}, {-600, "in 10 min"}, {-86400 * 7, "in 7 d"},
	} {
		if got := Ago(now.Add(-time.Duration(c.seconds)*time.Second), now); got != c.want {
			t.Errorf("Ago(%d s): got %q, want %q", c.seconds, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 12408211: "12,408,211"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d): got %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 62 << 20: "62 MiB", 5 << 40: "5 TiB", 5000 << 40: "5000 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d): got %q, want %q", n, got, want)
		}
	}
}

func TestFieldTellsItsError(t *testing.T) {
	var b strings.Builder
	f := FieldModel{Name: "email", Label: `E<mail`, Value: `"><script>`, Hint: "hint", Error: "Write an address."}
	if err := Field(f).Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`for="f-email"`, `id="f-email"`, `aria-invalid="true"`, `aria-describedby="f-email-hint f-email-error"`, `id="f-email-error"`,
		"Write an address.", "E&lt;mail", "&#34;&gt;&lt;script&gt;"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("field: no %s in %s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "<script") {
		t.Errorf("field: unescaped value in %s", b.String())
	}
}

func TestDay(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), "Sun 22 Nov"},
		{time.Date(2026, 11, 21, 23, 59, 0, 0, time.UTC), "Sat 21 Nov"},
		{time.Date(2025, 11, 22, 9, 4, 0, 0, time.UTC), "Sat 22 Nov 2025"},
	} {
		if got := Day(c.at, now); got != c.want {
			t.Errorf("%v: got %q, want %q", c.at, got, c.want)
		}
	}
}

func TestDayClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 11, 22, 9, 4, 0, 0, time.UTC), "09:04"},
		{time.Date(2026, 11, 21, 23, 59, 0, 0, time.UTC), "21 Nov 23:59"},
		{time.Date(2025, 11, 22, 9, 4, 0, 0, time.UTC), "22 Nov 2025 09:04"},
		{time.Date(2026, 11, 22, 1, 0, 0, 0, time.FixedZone("", 7200)), "21 Nov 23:00"},
	} {
		if got := DayClock(c.at, now); got != c.want {
			t.Errorf("%v: got %q, want %q", c.at, got, c.want)
		}
	}
}
