package handlers

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"redthread/collab"
)

func TestMetrics(t *testing.T) {
	s := newSite(t)
	r := s.browser().get("/metrics")
	r.want(t, "from this machine", 200, "# TYPE redthread_store_appended_rows_total counter\nredthread_store_appended_rows_total 0\n",
		"# TYPE redthread_store_memtable_rows gauge", "redthread_store_disk_full 0", "redthread_store_corrupt_files 0", "redthread_ingest_requests_total 0", "redthread_ingest_log_messages 0", "redthread_store_last_flush_timestamp_seconds 0.000", "!last_flush_error")
	line := regexp.MustCompile(`^(# HELP [a-z_]+ .+\.|# TYPE [a-z_]+ (counter|gauge)|[a-z_]+ [0-9]+(\.[0-9]+)?)$`)
	said := map[string]bool{}
	for _, l := range strings.Split(strings.TrimSpace(r.body), "\n") {
		if !line.MatchString(l) {
			t.Errorf("not a line of the format: %q", l)
		}
		if name, ok := strings.CutPrefix(l, "# TYPE redthread_"); ok {
			name, _, _ = strings.Cut(name, " ")
			said[name] = true
			if metricHelp[name] == "" {
				t.Errorf("metric %s has no help", name)
			}
		}
	}
	for name := range metricHelp {
		if !said[name] {
			t.Errorf("there is help for %s, which is no metric", name)
		}
	}
	s.browser().get("/metrics", "X-Forwarded-For", "203.0.113.9").want(t, "through a proxy", 401)
	token, _, err := s.Auth.CreateToken(t.Context(), "prometheus", collab.RoleViewer, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.browser().get("/metrics", "X-Forwarded-For", "203.0.113.9", "Authorization", "Bearer "+token).want(t, "through a proxy with a token", 200)
}

func TestFromThisMachine(t *testing.T) {
	for remote, want := range map[string]bool{"127.0.0.1:9": true, "[::1]:9": true, "[::ffff:127.0.0.1]:9": true, "10.0.0.1:9": false, "203.0.113.9:9": false, "": false} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr = remote
		if got := fromThisMachine(r); got != want {
			t.Errorf("from %q: got %v, want %v", remote, got, want)
		}
	}
}
