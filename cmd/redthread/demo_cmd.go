package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"redthread/cmd/redthread/demo"
	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// runDemo serves, sends the demo's traffic to the server's own port as any other
// exporter would, and opens one investigation that tells the story.
func runDemo(ctx context.Context, e env, args []string) error {
	var rate float64
	var seed uint64
	getenv := func(name string) string {
		if name == envName("data") && e.getenv(name) == "" {
			return "./redthread-demo"
		}
		return e.getenv(name)
	}
	c, err := parseConfig("demo", args, getenv, e.stderr, func(fs *flag.FlagSet) {
		fs.Float64Var(&rate, "rate", 2, "what people do, actions a second")
		fs.Uint64Var(&seed, "seed", 1, "seed of the traffic")
	})
	if err != nil {
		return err
	}
	if err := demo.CheckRate(rate); err != nil {
		return usageError{"--rate: " + err.Error()}
	}
	return serve(ctx, e, c, func(ctx context.Context, a *app) {
		log := a.log.With("component", "demo")
		key, made, err := a.auth.CreateIngestKey(ctx, "demo", collab.AnyEnvironment, collab.AttributeLists{})
		if err != nil {
			log.Error("make an ingest key", "error", err)
			return
		}
		defer func() {
			if err := a.auth.RevokeIngestKey(context.WithoutCancel(ctx), made.ID); err != nil {
				log.Error("revoke the demo's ingest key", "error", err)
			}
		}()
		pause, err := sinceLastSpan(ctx, a)
		if err != nil {
			if ctx.Err() == nil {
				log.Error("look for the spans of an earlier demo", "error", err)
			}
			return
		}
		told := make(chan struct{})
		close(told)
		err = demo.Run(ctx, demo.Options{
			URL: a.localURL(), Key: key, Rate: rate, Seed: seed, Backfill: min(pause, time.Hour), Logger: log,
			OnStory: func(s demo.Story) {
				told = make(chan struct{})
				go func() {
					defer close(told)
					if err := tellStory(ctx, a, s); err != nil && ctx.Err() == nil {
						log.Error("open the sample investigation", "error", err)
					}
				}()
			},
		})
		<-told
		if err != nil {
			log.Error("demo traffic ended", "error", err)
		}
	})
}

// sinceLastSpan is how long ago the newest stored span began, at least a second:
// a demo that starts again in its folder fills only what is missing. Without any
// span it is a very long time.
func sinceLastSpan(ctx context.Context, a *app) (time.Duration, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, _ := a.store.Ready(); ok {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	found, err := a.store.Search(ctx, query.Search{AnyTime: true, Limit: 1})
	if err != nil || len(found.Rows) == 0 {
		return math.MaxInt64, err
	}
	return max(time.Second, time.Since(time.Unix(0, found.Rows[0].StartUnixNano))), nil
}

// storyTitle names the sample investigation; one is enough for a data folder.
const storyTitle = "Slow quotes in the UK since the last deploy"

// tellStory opens the sample investigation over the API, as a person would.
func tellStory(ctx context.Context, a *app, s demo.Story) error {
	existing, _, err := a.collab.FindInvestigations(collab.AsServer(ctx), collab.InvestigationFilter{Limit: 200})
	if err != nil {
		return err
	}
	for _, inv := range existing {
		if inv.Title == storyTitle {
			return nil
		}
	}
	const lifetime = 5 * time.Minute
	const guide = "demo guide"
	token, made, err := a.auth.CreateToken(ctx, guide, collab.RoleMember, lifetime)
	if err != nil {
		return err
	}
	if err := demoTeams(collab.WithActor(ctx, collab.Actor{Kind: collab.ActorToken, ID: made.ID, Name: guide, Role: collab.RoleAdmin}), a.collab); err != nil {
		return err
	}
	c := &client{url: a.localURL(), token: token, http: &http.Client{Timeout: time.Minute}}
	post := func(path string, body any) (id string, err error) {
		b, err := json.Marshal(body)
		if err != nil {
			return "", err
		}
		var answer bytes.Buffer
		if err := c.call(ctx, http.MethodPost, path, b, &answer); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		var made struct {
			ID string `json:"id"`
		}
		err = json.Unmarshal(answer.Bytes(), &made)
		return made.ID, err
	}
	if _, err := post("/api/v1/markers", map[string]any{"ref": "demo-deploy", "type": "deploy", "service": "quotes-api", "environment": "production-uk", "message": "build " + s.Build, "time": s.Began.Unix()}); err != nil {
		return err
	}
	inv, err := post("/api/v1/investigations", map[string]any{"ref": "demo", "title": storyTitle, "severity": "sev2"})
	if err != nil {
		return err
	}
	span := func(r trace.Ref) map[string]any {
		return map[string]any{"trace_id": r.TraceID.String(), "span_id": r.SpanID.String()}
	}
	with := func(m map[string]any, ref, kind string) map[string]any {
		m["ref"], m["kind"] = ref, kind
		return m
	}
	from, to := float64(s.Began.Add(-30*time.Minute).Unix()), float64(time.Now().Unix())
	slow, ripple := span(s.SlowServer), span(s.RippleOrigin)
	delete(ripple, "span_id")
	blocks := []map[string]any{
		{"ref": "demo-1", "kind": "note", "text": fmt.Sprintf("Support says that quotes in the UK are slow since about %s UTC, when build `%s` went out. Not every dealer, it seems.",
			s.Began.UTC().Format("15:04"), s.Build)},
		{"ref": "demo-2", "kind": "query", "query": map[string]any{
			"calculations": []map[string]string{{"op": "COUNT"}, {"op": "P99", "column": "duration_ms"}},
			"filters": []map[string]any{{"column": "service.name", "op": "=", "value": "quotes-api"},
				{"column": "span.kind", "op": "=", "value": "server"}},
			"breakdowns": []string{"service.version", "dealer.id"},
			"orders":     []map[string]string{{"op": "P99", "column": "duration_ms", "order": "descending"}},
			"limit":      10, "granularity": 60, "start_time": from, "end_time": to,
		}},
		with(slow, "demo-3", "span"),
		with(ripple, "demo-4", "thread"),
		{"ref": "demo-5", "kind": "note", "text": fmt.Sprintf("Two things, one cause? The slow quotes are all of dealer `%s` on the new build. "+
			"And one price update of the same dealer set off %d jobs, each of which pushed itself again. Press `o` on any of them: it goes to that one request.",
			s.Dealer, s.RippleJobs)},
	}
	pins := make([]string, len(blocks))
	for i, b := range blocks {
		if pins[i], err = post("/api/v1/investigations/"+inv+"/blocks", b); err != nil {
			return err
		}
	}
	// What is believed, and what speaks for and against it: the answer by dealer
	// supports the one and rules out the other.
	for _, b := range []map[string]any{
		{"ref": "demo-7", "kind": "hypothesis", "state": "supported", "title": "Build " + s.Build + " loads a dealer's whole stock for every quote",
			"references": map[string]string{pins[1]: "for", pins[2]: "for"}},
		{"ref": "demo-8", "kind": "hypothesis", "state": "refuted", "title": "The new build is slow for every dealer",
			"references": map[string]string{pins[1]: "against"}},
		{"ref": "demo-9", "kind": "task", "title": "Roll back quotes-api"},
	} {
		if _, err = post("/api/v1/investigations/"+inv+"/blocks", b); err != nil {
			return err
		}
	}
	// Somebody else looks at the jobs: both began with one request, so each board
	// offers to merge with the other.
	if _, err := post("/api/v1/investigations", map[string]any{"ref": "demo-jobs", "title": "RecalculateValuationsJob piles up", "severity": "sev3",
		"pin": map[string]any{"kind": "trace", "trace_id": s.RippleOrigin.TraceID.String(), "text": "What set them off?"}}); err != nil {
		return err
	}
	_, err = post("/api/v1/annotations", map[string]any{"ref": "demo-6", "anchor": map[string]any{"investigation_id": inv, "pin_id": pins[2]},
		"text": "Only this build loads the dealer's whole stock for every quote."})
	return err
}

// demoTeams makes teams that own the services, so that an investigation says whom
// to ask in, with a colleague each, who has no password and cannot sign in. Where
// there are teams already, it makes none.
func demoTeams(ctx context.Context, store *collab.Store) error {
	if teams, err := store.FindTeams(ctx); err != nil || len(teams) > 0 {
		return err
	}
	for _, t := range []struct {
		name, colleague string
		services        []string
	}{
		{"Quotes", "Mira", []string{"quotes-api", "web-*"}},
		{"Dealers", "Jonas", []string{"dealers-api", "dealer-consumer"}},
		{"Workers", "Rika", []string{"worker-*", "pricing-consumer"}},
	} {
		team, err := store.CreateTeam(ctx, collab.TeamNew{Name: t.name, Services: t.services})
		if err != nil {
			return fmt.Errorf("team %s: %w", t.name, err)
		}
		u, err := store.CreateUser(ctx, collab.NewUser{Email: strings.ToLower(t.colleague) + "@demo.invalid", Name: t.colleague, Role: collab.RoleMember})
		if err != nil {
			return fmt.Errorf("colleague %s: %w", t.colleague, err)
		}
		if _, err := store.UpdateTeam(ctx, team.ID, collab.TeamUpdate{Members: map[string]bool{u.ID: true}}); err != nil {
			return fmt.Errorf("team %s: %w", t.name, err)
		}
	}
	return nil
}
