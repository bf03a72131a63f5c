package handlers

import (
	"fmt"
	"testing"

	"redthread/collab"
	"redthread/tracestore/trace"
)

// The page of a thread asks later how large it is among others, and leads to
// them; an address that means nothing is refused by both.
func TestThreadRankOfThePage(t *testing.T) {
	s := newSite(t)
	viewer := s.as(collab.RoleViewer)
	var w threadSpans
	root := trace.Ref{}
	for i := range 25 {
		r, api := w.request("POST /quotes", fmt.Sprint(i), int64(i*100), 90)
		if i == 7 {
			root = r
			for k := range 3 {
				w.perform(w.enqueue(api, "quotes-api", "Price", "", int64(800+k)), "worker", "Price", "", int64(900+k), 5)
			}
		}
	}
	s.send(w.list)
	id := root.TraceID.String()
	viewer.get("/thread/"+id).want(t, "the page of a thread", 200, `data-js="later" data-href="/thread/`+id+`/rank"`, "name=POST+%2Fquotes")
	viewer.get("/thread/"+id+"/rank").want(t, "its rank", 200, "Bigger than all", "of 24 others from this endpoint", "/ripples?")
	job := s.as(collab.RoleViewer)
	job.get("/thread/000000000000000000000000000000aa/rank").want(t, "the rank of nothing", 200, "!Bigger", "!Others")
	for _, path := range []string{"/thread/xyz/rank", "/thread/xyz", "/thread/00000000000000000000000000000000", "/thread/" + id + "?span=nonsense", "/api/v1/traces/xyz/thread", "/api/v1/traces/" + id + "/thread?span=nonsense"} {
		viewer.get(path).want(t, path, 400, "!panic")
	}
	viewer.get("/thread/000000000000000000000000000000aa").want(t, "a thread of nothing", 404, "has arrived")
	for _, q := range []string{"view=nonsense", "zoom=-9223372036854775808~9223372036854775807", "zoom=9223372036854775806~9223372036854775807", "zoom=a~b", "sel=" + id + ".00", "sel=zz", "open=~~~,%00,x~-5~slowest", "row=99999999999&view=table",
		"view=table&service=%3Cscript%3E&sort=--took", "critical=2&skew=%ff", "span=00000000000000ff"} {
		viewer.get("/thread/"+id+"?"+q).want(t, q, 200, "Thread of POST /quotes", "!<script>%", "!NaN")
	}
}
