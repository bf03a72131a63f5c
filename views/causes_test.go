package views

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"
)

// TestCausesGolden compares the pages of causes and of what joins them, empty,
// full and with hostile values.
func TestCausesGolden(t *testing.T) {
	start := time.Date(2026, 11, 22, 14, 3, 11, 204e6, time.UTC)
	full := func(name string) CausesPage {
		cause := CauseView{Service: name, Name: name, Href: "/t/0b/01", Thread: "/thread/0b?span=01", Start: start, Wait: "waited 40 ms", Inferred: true,
			How: "inferred: same message id", Rule: "message_id edge, rule message_id: inferred, not recorded", Here: name, HereHref: "/t/0a/02"}
		dead := CauseView{Name: "span 09", Href: "/t/0e/09", Thread: "/thread/0e?span=09", How: "recorded link", Dead: "nothing of its trace has arrived", Here: name}
		return CausesPage{TraceID: "0a", SpanID: "02", Name: name, Service: name, Href: "/t/0a/02", AllHref: "/t/0a/causes", Truncated: true,
			Origin: OriginView{Unknown: "one of 5 requests", Fix: "It was handled in a batch.", Candidates: []CauseView{cause}, CandidatesMore: 4},
			By:     []CauseView{cause, dead}, ByAll: 302, ByEarlier: &MoreRows{100, "/t/0a/causes"}, ByLater: &MoreRows{200, "/t/0a/causes?by=201"},
			Caused:    []EffectView{{Service: name, Name: name, Href: "/t/0d/01", Thread: "/thread/0d?span=01", Count: 1200, Errors: 3, Start: start, Wait: "waited up to 2 s", Here: name, HereHref: "/t/0a/02"}},
			CausedAll: 101, CausedSpans: 20000, CausedLater: &MoreRows{100, "/t/0a/causes?caused=101"}}
	}
	frame := func(name string) Settings {
		return Settings{Page: Page{Title: name, Section: SectionSettings, Me: &Me{Name: name, Role: "admin", Admin: true}, Now: start}, Tab: TabCorrelations, Title: "Correlations"}
	}
	counts := []KeyCount{{Key: hostileName, Text: "1,204 spans"}, {Key: "app.never", Text: "0 spans", None: true}, {Key: "slow"}}
	for name, c := range map[string]templ.Component{
		"causes":               causesBody(full("POST /quotes")),
		"causes-hostile":       causesBody(full(hostileName)),
		"causes-empty":         causesBody(CausesPage{TraceID: "0a", Name: "GET /", Service: "web", Href: "/t/0a", AllHref: "/t/0a/causes", Origin: OriginView{Itself: true}}),
		"correlations-empty":   CorrelationsPage(Correlations{Settings: frame("Ann"), Means: "message", IsDefault: true}),
		"correlations-preview": CorrelationsPage(Correlations{Settings: frame(hostileName), Name: hostileName, Means: "job", Cause: hostileName, Effect: "b", Errors: FieldErrors{"name": "Give the correlation a name to know it by.", "kept": "At most 30 attributes can be kept."}, Preview: true, PreviewCause: counts, PreviewScope: counts, Kept: counts, KeptText: hostileName, Columns: []string{hostileName}, List: []CorrelationRow{{Name: hostileName, Means: "message", Cause: counts, Effect: counts}}}),
	} {
		got := strings.ReplaceAll(renderPage(t, c), "><", ">\n<")
		if strings.Contains(got, "<script>") || regexp.MustCompile(`\s(style|on[a-z]+)=`).MatchString(got) {
			t.Errorf("%s: markup comes through, or an attribute that the policy blocks", name)
		}
		// The page around it has goldens of its own.
		if _, main, ok := strings.Cut(got, "<main"); ok {
			got, _, _ = strings.Cut(main, "</main>")
		}
		path := filepath.Join("testdata", "causes", name+".html")
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differs from %s; if that is meant, run go test ./views -update (-want +got):\n%s", name, path, diff)
		}
	}
}
