package views

import (
	"testing"
	"time"

	"github.com/a-h/templ"
)

func TestRipplesGolden(t *testing.T) {
	thread := RippleThread{Service: "web-uk", Class: "Service--9", Name: "POST /quotes", Environment: "production-uk", URL: "/thread/aa?span=bb", Start: exploreNow.Add(-time.Hour),
		Earlier: true, Effects: "3,482", Bar: "100.0%", Words: "3,482 jobs", Errors: "12", Last: "4 min 20 s"}
	hostile := RippleThread{Service: hostileText, Class: "Service--0", Name: hostileText, URL: "javascript:alert(1)", Start: exploreNow, Effects: "1", Words: hostileText, Last: "1 ms"}
	full := Ripples{Window: "the last 1 h", Before: "the 1 h before", Totals: "7 threads set off 42 messages, jobs and requests, in 29 traces.", Now: exploreNow,
		Notices: []string{"This is not all."}, JSONURL: "/api/v1/ripples", Find: hostileText, Keep: []ExploreParam{{"sort", "failing"}}, AllURL: "/ripples",
		Sorts:        []ExploreTab{{Label: "Biggest", URL: "/ripples"}, {Label: "Most failing", URL: "/ripples?sort=failing", Current: true}},
		SinglesTitle: "Most failing threads", Singles: []RippleThread{thread, hostile}, First: 101, Last: 102, All: 240, PrevURL: "/ripples", NextURL: "/ripples?line=200",
		Rows: []RippleRow{
			{Service: "web-uk", Class: "Service--9", Name: "POST /quotes", Environment: "production-uk", URL: "/ripples?name=a#open", Open: true, Threads: "806", Spreading: "800 with effects",
				Effects: "10,627", Over: Spark{[]float64{1, 5, 2}, "what POST /quotes set off over time"}, Change: "+47 %", ChangeTitle: "7,200 before, 10,627 now", Jobs: "3,385", Messages: "4,022",
				Requests: "3,220", Errors: "184", FailedShare: "11 %", HasErrors: true, FailingURL: "/thread/cc", Busy: "9 min 9 s", P50: "577 ms", P95: "41.2 s", Max: "2 min 0 s", LongestURL: "/thread/dd",
				Largest: "17", LargestURL: "/thread/ee"},
			{Service: hostileText, Class: "Service--0", Name: hostileText, URL: "/ripples#open", Threads: "1", Effects: "0", Jobs: "0", Messages: "0", Requests: "0", Busy: "1 ms", P50: "—", P95: "—", Max: "—", Largest: "—"},
		},
		Unknown: []RippleUnknown{{Title: "Origin unknown", Words: "not recorded", Advice: "Let its library record a parent or a link.", Traces: "2,048", Jobs: "1,024", Messages: "0", Errors: "3", HasErrors: true,
			Over: Spark{[]float64{1, 0, 1}, "these traces over time"}, More: 2, By: []RippleWork{{Service: "worker", Class: "Service--2", Name: hostileText, URL: "/t/aa", Traces: "1,024"}}}}}
	open := full
	open.Open = &RippleOpen{Service: "web-uk", Class: "Service--9", Name: "POST /quotes", Environment: "production-uk", CloseURL: "/ripples", ExploreURL: "/explore?w=a",
		Facts:   []ThreadFact{{Name: "Threads", Value: "806"}, {Name: "Errors", Value: "184", Warn: "in 90 threads, 11 %"}},
		Charts:  []RippleChart{{Title: "Set off", Top: "877", Values: Spark{[]float64{1, 877}, "Set off"}, From: exploreNow.Add(-time.Hour), To: exploreNow}, {Title: "Errors", Top: "27", Errors: true, Values: Spark{[]float64{0, 27}, "Errors"}, From: exploreNow.Add(-time.Hour), To: exploreNow}},
		Parts:   []RipplePart{{Start: exploreNow.Add(-time.Hour), Threads: "11", Effects: "877", Median: "3", Max: "850", Errors: "27", Last: "4 min 20 s"}},
		Threads: []RippleThread{thread}, ThreadsTitle: "Its most failing threads", MoreSetsOff: 3,
		SetsOff:      []RippleWork{{Service: "worker", Class: "Service--2", Name: "PricingJob process", Kind: "job", URL: "/t/aa", Traces: "12", Bar: "100.0%", Errors: "4", HasErrors: true, Busy: "1 s", Median: "80 ms", P95: "90 ms", Max: "1 s"}},
		DeployColumn: "service.version", DeployWords: "By the version of the origin.", Deploys: []RippleDeploy{
			{Version: "v2", Role: "this deploy", First: exploreNow.Add(-time.Minute), Threads: "2", Each: "5", Change: "×5", ChangeTitle: "1 before, 5 now", P50: "4", P95: "6", Max: "6", Failed: "50 %", HasErrors: true, LastP50: "1 s", LastP95: "2 s"},
			{Version: hostileText, Role: "the last", First: exploreNow.Add(-time.Hour), Threads: "2", Each: "1", P50: "1", P95: "2", Max: "2", Failed: "0 %", LastP50: "1 s", LastP95: "2 s"}}}
	none := Ripples{Window: "the last 1 h", Totals: "0 threads set off 0 messages, jobs and requests.", Now: exploreNow, JSONURL: "/api/v1/ripples", Find: "nothing like it", AllURL: "/ripples"}
	checkGolden(t, "ripples", map[string]templ.Component{
		"full":    ripplesBody(full),
		"open":    ripplesBody(open),
		"none":    ripplesBody(none),
		"quiet":   ripplesBody(Ripples{Window: "the last 5 min", JSONURL: "/api/v1/ripples", Empty: &ExploreEmpty{Window: "the last 5 min", Newest: exploreNow.Add(-time.Hour), Now: exploreNow, Links: []ExploreLink{{"The last 24 h", "/ripples?range=24h"}}}}),
		"no_data": ripplesBody(Ripples{Window: "the last 1 h", JSONURL: "/api/v1/ripples", Empty: &ExploreEmpty{NoData: true}}),
	})
}
