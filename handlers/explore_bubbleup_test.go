package handlers

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hrefs are the addresses of the links whose text, or whose aria-label or title,
// matches.
func hrefs(t *testing.T, body, text string) []url.Values {
	t.Helper()
	var out []url.Values
	for _, m := range regexp.MustCompile(`<a [^>]*href="(/explore\?[^"]*)"[^>]*>\s*([^<]*)`).FindAllStringSubmatch(body, -1) {
		if !regexp.MustCompile(text).MatchString(m[0]) {
			continue
		}
		u, err := url.Parse(html.UnescapeString(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u.Query())
	}
	return out
}

func TestExploreBubbleUp(t *testing.T) {
	b := exploreSite(t)
	help := b.get(explorePath("v", "HEATMAP(duration_ms)", "range", "1h", "tab", "bubbleup"))
	help.want(t, "nothing selected", http.StatusOK, "What is different about these rows?", "Draw a box", `name="s"`, `name="sfrom"`, "The slowest 1 %, from 2 s")
	if offers := hrefs(t, help.body, "Errors"); len(offers) != 1 || offers[0].Get("s") != "error = true" || offers[0].Get("tab") != "bubbleup" {
		t.Errorf("the offer to compare errors is %v", offers)
	}

	slow := b.get(explorePath("v", "HEATMAP(duration_ms)", "w", "service.name = web-uk", "range", "1h", "tab", "bubbleup", "s", "duration_ms >= 1000"))
	slow.want(t, "slow requests", http.StatusOK, `selection <b>6</b>`, `everything else <b>54</b>`, "Chart-selected", "60 matched",
		`title="Group by error"`, "+100.0 pt", `<span>100.0 %</span>`, "defines the selection", `value="duration_ms &gt;= 1000"`, `data-column="error" data-value="true"`)
	filter := hrefs(t, slow.body, `(?s)Table-text"?.*>\s*true`)
	if len(filter) == 0 || !slices.Contains(filter[0]["w"], "error = true") || !slices.Contains(filter[0]["w"], "service.name = web-uk") || filter[0].Has("s") || filter[0].Has("tab") {
		t.Errorf("a value's link is %v, want it added to the filters and the selection dropped", filter)
	}
	zoom := hrefs(t, slow.body, "Only the selection")
	if len(zoom) != 1 || !cmp.Equal(zoom[0]["w"], []string{"service.name = web-uk", "duration_ms >= 1000"}) || zoom[0].Has("s") {
		t.Errorf("the selection as a query is %v", zoom)
	}
	for name, params := range map[string][]string{
		"a stretch of time": {"v", "COUNT", "range", "1h", "tab", "bubbleup", "sfrom", "0", "sto", "4000000000"},
		"no match":          {"v", "COUNT", "range", "1h", "tab", "bubbleup", "s", "duration_ms > 100000"},
	} {
		b.get(explorePath(params...)).want(t, name, http.StatusOK, "Answer-warning", map[bool]string{true: "Every row of the query", false: "No row of the query"}[name == "a stretch of time"])
	}
	b.get(explorePath("v", "COUNT", "tab", "bubbleup", "s", "duration_ms =~ 3", "sfrom", "noon")).want(t, "what cannot be read", http.StatusBadRequest, "Clause--invalid", "Write a time")
	b.get(explorePath("v", "COUNT", "tab", "bubbleup", "sfrom", "20", "sto", "10")).want(t, "a selection that ends before it begins", http.StatusBadRequest, "before the end")
}

func TestExploreCompareGroup(t *testing.T) {
	b := exploreSite(t)
	groups := b.get(explorePath("v", "COUNT", "g", "service.name", "range", "1h"))
	compare := hrefs(t, groups.body, "Compare web-de with the rest")
	if len(compare) != 1 || compare[0].Get("s") != "service.name = web-de" || compare[0].Get("tab") != "bubbleup" || compare[0].Get("g") != "service.name" {
		t.Fatalf("the link to compare a group is %v", compare)
	}
	page := b.get("/explore?" + compare[0].Encode())
	page.want(t, "a group", http.StatusOK, `selection <b>6</b>`, `everything else <b>60</b>`, "odd key", "&lt;script&gt;alert(1)", "!<script>alert")
	if strings.Contains(b.get(explorePath("v", "COUNT")).body, "with the rest") {
		t.Error("all rows are compared with the rest")
	}
}
