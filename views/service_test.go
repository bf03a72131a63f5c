package views

import "testing"

// The same table is in static/js/service.test.js: both sides must agree.
func TestServiceHue(t *testing.T) {
	for name, want := range map[string]int{"": 9, "web-uk": 9, "web-de": 5, "größe-日本": 8, "a": 0} {
		if got := ServiceHue(name); got != want {
			t.Errorf("ServiceHue(%q) = %d, want %d", name, got, want)
		}
	}
	if got := ServiceClass("a"); got != "Service--0" {
		t.Errorf("ServiceClass(a) = %q", got)
	}
}
