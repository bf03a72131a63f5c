package views

import "testing"

// The same table is in static/js/service.test.js: both sides must agree.
func TestServiceHue(t *testing.T) {
	for name, want := range map[string]int{"": 8, "web-uk": 6, "web-de": 7, "größe-日本": 6, "a": 8} {
		if got := ServiceHue(name); got != want {
			t.Errorf("ServiceHue(%q) = %d, want %d", name, got, want)
		}
	}
	if got := ServiceClass("a"); got != "Service--8" {
		t.Errorf("ServiceClass(a) = %q", got)
	}
}
