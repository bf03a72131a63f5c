package views

import (
	"testing"

	"github.com/a-h/templ"
)

func workRowOf(name string) WorkRow {
	web := WorkService{Name: "web-uk", Class: "Service--1", URL: "/services/web-uk", Count: "12"}
	return WorkRow{Name: name, URL: "/jobs/x", Systems: "sidekiq", Producers: []WorkService{web, {Name: "(no service name)", Class: "Service--3"}}, MoreProducers: 4, Consumers: []WorkService{web},
		Sent: "1,517", Handled: "401", Rate: "2.0/s", Spark: Spark{Values: []float64{1, 3, 2}, Label: "rate of " + name + " over time"}, Failed: "3", Share: "0.7 %", HasFailed: true, FailedURL: "/explore?w=x",
		Retried: "9", Run: WorkSpread{"20 ms", "97 ms", "190 ms", true}, Wait: WorkSpread{"163 ms", "1.68 s", "3.79 s", true}}
}

func TestWorkGolden(t *testing.T) {
	list := WorkList{Title: "Job classes", Noun: "job class", Nouns: "job classes", Window: "the last 1 h", Jobs: true, Action: "/jobs", HasWaits: true, HasTries: true, All: 300, Found: 300, From: 100, Now: exploreNow,
		Kept: []ExploreParam{{"environment", "production-uk"}}, NextURL: "/jobs?from_row=200", FirstURL: "/jobs", Notes: []string{"There are more job classes than can be listed."},
		Columns: []WorkColumn{{Name: "Job class", Sort: "name", URL: "/jobs?sort=name"}, {Name: "Sent by"}, {Name: "Handled by"}, {Name: "Sent", Number: true}, {Name: "Runs", Sort: "handled", URL: "/jobs", Sorted: true, Number: true},
			{Name: "Rate over time", Hidden: true}, {Name: "Failed", Number: true}},
		Rows: []WorkRow{workRowOf("PricingJob"), workRowOf(hostileText), workRowOf("")}}
	none := list
	none.Search, none.Rows, none.Found, none.NextURL, none.FirstURL, none.Notes = hostileText, nil, 0, "", "", nil
	run := WorkRun{Service: WorkService{Name: "worker", Class: "Service--2"}, Name: "PricingJob process", URL: "/t/aa/bb", ThreadURL: "/thread/aa?span=bb", Duration: "1.2 s", Problem: hostileText, Failed: true, Start: exploreNow}
	page := WorkPage{Name: hostileText, Noun: "job class", Jobs: true, Window: "the last 1 h", Now: exploreNow,
		Facts: []WorkFact{{Name: "Sent", Value: "12", Note: "0.1/s"}, {Name: "Failed", Value: "3", Note: "25 %", Warn: true, URL: "/explore?w=x"}},
		Waits: []WorkWait{{WorkSpread{"163 ms", "1.68 s", "3.79 s", true}, "from the end of what sent it to its start", "from 400 of 81,000 runs"}}}
	ends := []WorkEndRow{{Service: WorkService{Name: "web-uk", Class: "Service--1", URL: "/services/web-uk"}, Span: hostileText, Group: "pricing", Count: "≈ 12", Rate: "0.1/s", Failed: "1", Failing: true,
		Run: WorkSpread{P50: "—", P95: "—", P99: "—"}, Inferred: "by the causes of what it handled"}}
	origins := WorkOrigins{Of: "from all 17 runs", Rows: []WorkOrigin{{Service: WorkService{Name: "web-uk", Class: "Service--1"}, Name: "POST /quotes", URL: "/explore?w=x", Count: "8", Share: "47 %", Time: "280 ms", TimeShare: "46 %", Percent: "46.2", Example: "/thread/aa?span=bb"}},
		Unknown: []WorkUnknown{{"what caused it has not arrived", "6 runs", "35 %"}}}
	checkGolden(t, "work", map[string]templ.Component{
		"list":         workListTable(list),
		"list-nothing": workListTable(none),
		"teach":        workTeach(WorkTeach{Newest: exploreNow, Links: []ExploreLink{{"The last 24 h", "/jobs?range=24h"}}, Senders: []WorkSender{{"By hand", "Any span.", "tracer.in_span('x')"}}}, list),
		"facts":        workFacts(page.Facts),
		"waits":        workWaits(page),
		"ends":         workEnds("work-producers", "Who sends", "Nothing.", ends, false),
		"ends-nobody":  workEnds("work-producers", "Who sends", "Nothing in this window says who sends it.", nil, false),
		"origins":      workOrigins(origins),
		"parts":        workParts(WorkParts{ID: "work-parts", Title: "Queues", Unit: "Runs", Note: "the 15 most frequent", Rows: []WorkPart{{Name: "default", URL: "/queues/default", Class: "Service--4", Kind: "queue", Count: "12", Rate: "0.1/s", Failed: "1", Failing: true}, {Name: "low", Count: "1", Failed: "0"}}}),
		"runs":         workRuns("work-slowest", "Slowest", "", []WorkRun{run}, "/explore?tab=traces", exploreNow),
		"runs-none":    workRuns("work-failed", "Latest failures", "None failed in this window.", nil, "", exploreNow),
		"pending":      workPending(WorkPending{Of: "3 of 200 looked at, of 1,517 sent", Note: "Sent more than 1 min ago.", Rows: []WorkRun{run}}, exploreNow),
		"missing":      workMissing(WorkTeach{Links: []ExploreLink{{"In all environments", "/jobs/x"}}}, page),
	})
}

func TestServiceMapGolden(t *testing.T) {
	m := ServiceMap{Width: "760", Height: "120", Nodes: []MapNode{
		{X: "16", Y: "16", Kind: "service", Name: "web-uk", Short: "web-uk", Facts: "2.0/s · 40 ms", Failed: "0.5 %", Failing: true, Title: "service web-uk: 2.0/s", Class: "Service--1", URL: "/services/web-uk", TextX: "30", NameY: "34", FactY: "51", WarnX: "204"},
		{X: "292", Y: "16", Kind: "topic", Name: hostileText, Short: hostileText, Facts: "2.0/s", Title: hostileText, URL: "/messages/x", Found: true, TextX: "306", NameY: "34", FactY: "51", WarnX: "480"},
		{X: "568", Y: "16", Kind: "queue", Name: "12 queues", Short: "12 queues", Facts: "1.0/s", Title: "12 queues", Members: 12, Middle: true, TextX: "582", NameY: "34", FactY: "51", WarnX: "756"},
	}, Edges: []MapEdge{
		{Path: "M216 38H292", Arrow: "send", Width: "2.5", Kind: "send", Title: "web-uk sends x: 2.0/s", URL: "/service-map/traces?source=a&target=b", Label: "2.0/s", LabelX: "254", LabelY: "34", Inferred: true},
		{Path: "M492 38H568", Arrow: "failing", Width: "1", Kind: "handle", Title: "x handled by y", Failing: true},
		{Path: "M492 38H568", Arrow: "thread", Width: "1", Kind: "call", Title: "x calls y", Red: true},
	}, Thread: "aa"}
	rows := []MapRow{{Name: "web-uk", Class: "Service--1", URL: "/services/web-uk", FocusURL: "/services?focus=x", Count: "12", Rate: "2.0/s", Failed: "1", Share: "8 %", Failing: true, P95: "40 ms", Wait: "—", Sent: "0"},
		{Name: hostileText, Kind: "topic", Count: "1", Rate: "—", Failed: "0", P95: "—", Wait: "2 s", Sent: "3", Members: []string{"a", hostileText}}}
	checkGolden(t, "service-map", map[string]templ.Component{
		"picture":  mapPicture(m),
		"legend":   mapLegend(m),
		"services": mapNodes("map-services", "Services", rows[:1], false),
		"topics":   mapNodes("map-topics", "Topics and queues", rows[1:], true),
		"lines":    mapLines([]MapLine{{From: "web-uk", To: hostileText, Kind: "sends", FromClass: "Service--1", Count: "12", Rate: "2.0/s", Failed: "1", Share: "8 %", Failing: true, P95: "40 ms", Wait: "—", URL: "/service-map/traces?source=a&target=b", Inferred: true}}),
	})
}
