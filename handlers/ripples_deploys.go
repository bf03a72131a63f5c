package handlers

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// versionColumns are the attributes by which a service says what was deployed,
// the one of OpenTelemetry's conventions first.
var versionColumns = []string{"service.version", "app.version", "app.build", "build.id", "build_id", "deployment.version", "deployment.id",
	"heroku.release_version", "heroku.release.version", "git.sha", "git.commit.sha", "vcs.ref.head.revision", "release"}

const (
	// maxVersionColumns is how many of these are tried.
	maxVersionColumns = 3
	// maxDeploys is how many versions are compared.
	maxDeploys = 8
)

// deploy is the threads that one version of a service began.
type deploy struct {
	Column    string `json:"column"`
	Version   string `json:"version"`
	FirstNano int64  `json:"first_unix_nano,string"` // the first of them in the time
	LastNano  int64  `json:"last_unix_nano,string"`  // and the last
	graph.RippleMeasures
	EffectsP50 int   `json:"effects_p50"` // set off by one thread
	EffectsP95 int   `json:"effects_p95"`
	EffectsMax int   `json:"effects_max"`
	LastP50    int64 `json:"last_effect_p50_nano,string"`
	LastP95    int64 `json:"last_effect_p95_nano,string"`
}

// deploys compares the versions that began the threads of an endpoint, the one
// that came last first; none if the service does not tell versions. The origin
// says which version it was: threads whose spans are gone are left out.
func (e explorer) deploys(ctx context.Context, st ripplesState, d *graph.RippleDetail) ([]deploy, error) {
	columns, err := e.store.Columns(ctx, st.environment, "")
	if err != nil {
		return nil, err
	}
	tried := 0
	for _, column := range versionColumns {
		if tried == maxVersionColumns || !slices.ContainsFunc(columns, func(c query.ColumnInfo) bool { return c.Name == column }) {
			continue
		}
		tried++
		versions, err := e.versions(ctx, st, d, column)
		if err != nil {
			return nil, err
		}
		if len(versions) > 0 {
			return compareDeploys(column, versions, d), nil
		}
	}
	return nil, nil
}

// versions are those of the roots of the threads of an endpoint.
func (e explorer) versions(ctx context.Context, st ripplesState, d *graph.RippleDetail, column string) (map[trace.ID]string, error) {
	out := map[trace.ID]string{}
	names := []query.Filter{{Column: "name", Op: "=", Value: d.Name}}
	if i := strings.Index(d.Name, "/"); i >= 0 { // see graph.Endpoint: the route may stand for the name
		names = append(names, query.Filter{Column: "http.route", Op: "=", Value: d.Name[i:]})
	}
	for _, name := range names {
		limit := query.MaxLimitNoSeries
		from, to := secondsOf(st.window.From), secondsOf(st.window.To)
		res, err := e.store.Query(ctx, query.Spec{Environment: d.Environment, StartTime: &from, EndTime: &to, Limit: &limit,
			Calculations: calculations(), Breakdowns: []string{column, "trace.trace_id"},
			Filters: []query.Filter{{Column: "service.name", Op: "=", Value: d.Service}, {Column: "is_root", Op: "=", Value: true}, name, {Column: column, Op: "exists"}}})
		if err != nil {
			return nil, err
		}
		for _, g := range res.Results {
			text, missing := valueText(g.Data["trace.trace_id"])
			version, none := valueText(g.Data[column])
			if id, err := trace.ParseID(text); err == nil && !missing && !none {
				out[id] = version
			}
		}
		if len(out)*2 > len(d.All) {
			break
		}
	}
	return out, nil
}

// compareDeploys groups the threads by version.
func compareDeploys(column string, versions map[trace.ID]string, d *graph.RippleDetail) []deploy {
	at := map[string]int{}
	var out []deploy
	var effects [][]int
	var last [][]int64
	for i := range d.All {
		t := &d.All[i]
		version, ok := versions[t.TraceID]
		if !ok {
			continue
		}
		k, ok := at[version]
		if !ok {
			k = len(out)
			at[version] = k
			out = append(out, deploy{Column: column, Version: version, FirstNano: t.StartUnixNano, LastNano: t.StartUnixNano})
			effects, last = append(effects, nil), append(last, nil)
		}
		v := &out[k]
		v.Add(&t.Ripple)
		v.FirstNano, v.LastNano = min(v.FirstNano, t.StartUnixNano), max(v.LastNano, t.StartUnixNano)
		effects[k] = append(effects[k], t.Effects())
		if t.Effects() > 0 {
			last[k] = append(last[k], t.LastEffectNano)
		}
	}
	for k := range out {
		slices.Sort(effects[k])
		slices.Sort(last[k])
		out[k].EffectsP50, out[k].EffectsP95, out[k].EffectsMax = nearest(effects[k], 50), nearest(effects[k], 95), nearest(effects[k], 100)
		out[k].LastP50, out[k].LastP95 = nearest(last[k], 50), nearest(last[k], 95)
	}
	slices.SortFunc(out, func(a, b deploy) int {
		return cmp.Or(cmp.Compare(b.FirstNano, a.FirstNano), cmp.Compare(a.Version, b.Version))
	})
	return out[:min(len(out), maxDeploys)]
}

// nearest is a percentile of sorted values by the nearest rank, 0 of none.
func nearest[T int | int64](sorted []T, p int) T {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
