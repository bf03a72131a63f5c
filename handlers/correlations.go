package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/views"
)

const (
	// maxCorrelations and maxKept bound the settings: every row is looked at for
	// each of their attributes.
	maxCorrelations = 50
	maxKept         = 30
	// maxCorrelationName and maxAttributeName are in bytes.
	maxCorrelationName = 80
	maxAttributeName   = 200
	// previewSeconds is how far back the page counts the spans that carry an
	// attribute, and maxPreviewed how many attributes it counts.
	previewSeconds = 3600
	maxPreviewed   = 60
)

// Correlations are the settings of what joins causes and effects beside the rules
// that are built in: attributes that mean the same message, job or request, and
// the attributes that the summaries of traces keep when the spans are gone.
type Correlations struct {
	Correlations []graph.Correlation `json:"correlations"`
	Kept         []string            `json:"kept"`
}

// LoadCorrelations reads the stored settings; without any, they are the default.
func LoadCorrelations(ctx context.Context, store *collab.Store) (Correlations, error) {
	raw, err := store.Setting(ctx, collab.SettingCorrelations)
	if err != nil && !errors.Is(err, collab.ErrNotFound) {
		return Correlations{}, err
	}
	return parseCorrelations(raw)
}

func parseCorrelations(raw string) (Correlations, error) {
	s := Correlations{Correlations: []graph.Correlation{}, Kept: graph.DefaultKept()}
	if raw == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return s, fmt.Errorf("setting %s: %w", collab.SettingCorrelations, err)
	}
	return s, nil
}

// Rules are the rules that edges are found by under the settings.
func (s *Correlations) Rules() (*graph.Rules, error) { return graph.NewRules(s.Correlations...) }

// clean trims the settings and says what is wrong with them.
func (s *Correlations) clean() error {
	if len(s.Correlations) > maxCorrelations {
		return &collab.InvalidError{Field: "correlations", Message: fmt.Sprintf("There may be %d correlations at most.", maxCorrelations)}
	}
	if s.Correlations == nil {
		s.Correlations = []graph.Correlation{}
	}
	names := map[string]bool{}
	for i := range s.Correlations {
		c := &s.Correlations[i]
		if err := cleanCorrelation(c); err != nil {
			return err
		}
		if names[c.Name] {
			return &collab.InvalidError{Field: "name", Message: fmt.Sprintf("There is a correlation %q already: choose another name.", c.Name)}
		}
		names[c.Name] = true
		for _, o := range s.Correlations[:i] {
			if o.Means == c.Means && slices.Equal(o.Cause, c.Cause) && slices.Equal(o.Effect, c.Effect) && slices.Equal(o.Scope, c.Scope) {
				return &collab.InvalidError{Field: "effect", Message: fmt.Sprintf("%q joins these attributes already.", o.Name)}
			}
		}
	}
	s.Kept = cleanNames(s.Kept)
	if len(s.Kept) > maxKept {
		return &collab.InvalidError{Field: "kept", Message: fmt.Sprintf("At most %d attributes can be kept.", maxKept)}
	}
	return checkNames("kept", s.Kept)
}

func cleanCorrelation(c *graph.Correlation) error {
	c.Name, c.Cause, c.Effect, c.Scope = strings.TrimSpace(c.Name), cleanNames(c.Cause), cleanNames(c.Effect), cleanNames(c.Scope)
	switch {
	case c.Name == "":
		return &collab.InvalidError{Field: "name", Message: "Give the correlation a name to know it by."}
	case !isText(c.Name):
		return &collab.InvalidError{Field: "name", Message: "The name has signs in it that cannot be shown: type it anew."}
	case len(c.Name) > maxCorrelationName:
		return &collab.InvalidError{Field: "name", Message: fmt.Sprintf("The name may have %d bytes at most.", maxCorrelationName)}
	case !slices.Contains([]graph.Meaning{graph.MeansMessage, graph.MeansJob, graph.MeansRequest, graph.MeansTrace}, c.Means):
		return &collab.InvalidError{Field: "means", Message: "Choose what the value names: message, job, request or trace."}
	case c.Means == graph.MeansTrace && len(c.Cause) > 0:
		return &collab.InvalidError{Field: "cause", Message: "A value that is a trace id names its cause by itself: leave the sending side empty."}
	case c.Means != graph.MeansTrace && len(c.Cause) == 0:
		return &collab.InvalidError{Field: "cause", Message: "Name the attribute that the sending side records."}
	case len(c.Effect) == 0:
		return &collab.InvalidError{Field: "effect", Message: "Name the attribute that the receiving side records; it may be the same."}
	}
	return errors.Join(checkNames("cause", c.Cause), checkNames("effect", c.Effect), checkNames("scope", c.Scope))
}

// isText reports whether a text can be shown.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, unicode.C) })
}

func checkNames(field string, names []string) error {
	for _, n := range names {
		if !isText(n) {
			return &collab.InvalidError{Field: field, Message: "The name of an attribute has signs in it that cannot be shown: type it anew."}
		}
		if len(n) > maxAttributeName {
			return &collab.InvalidError{Field: field, Message: fmt.Sprintf("The name of an attribute may have %d bytes at most.", maxAttributeName)}
		}
	}
	return nil
}

// cleanNames trims names and drops those that are empty or there already.
func cleanNames(names []string) []string {
	out := []string{}
	for _, n := range names {
		if n = strings.TrimSpace(n); n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// splitNames reads a list of names as people type it.
func splitNames(text string) []string {
	return cleanNames(strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' || r == '\t' }))
}

// changeCorrelations changes the settings and applies them to the running store.
// The audit log tells what was done to what.
func (s *Server) changeCorrelations(ctx context.Context, action, subject string, change func(*Correlations) error) error {
	var undo func()
	err := s.Collab.ChangeSetting(ctx, collab.SettingCorrelations, collab.AuditEntry{Action: action, Subject: subject}, func(old string) (string, error) {
		set, err := parseCorrelations(old)
		if err != nil {
			return "", err
		}
		before := set
		before.Correlations = slices.Clone(set.Correlations)
		if err := change(&set); err != nil {
			return "", err
		}
		if err := set.clean(); err != nil {
			return "", err
		}
		raw, err := json.Marshal(&set)
		if err != nil {
			return "", fmt.Errorf("write correlations: %w", err)
		}
		// In use before it is stored: two changes take effect in their order.
		if err := s.useCorrelations(&set); err != nil {
			return "", &collab.InvalidError{Message: sentence(err)}
		}
		undo = func() {
			if err := s.useCorrelations(&before); err != nil {
				s.Log.ErrorContext(ctx, "put correlations back", "error", err)
			}
		}
		return string(raw), nil
	})
	if err != nil && undo != nil {
		undo()
	}
	return err
}

// useCorrelations applies settings to what arrives and is asked from now on.
func (s *Server) useCorrelations(set *Correlations) error {
	rules, err := set.Rules()
	if err != nil {
		return err
	}
	s.Store.UseRules(rules, set.Kept)
	s.Graph.UseRules(rules)
	return nil
}

// showCorrelationsJSON answers GET /api/v1/correlations.
func (s *Server) showCorrelationsJSON(c echo.Context) error {
	set, err := LoadCorrelations(c.Request().Context(), s.Collab)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, set)
}

// replaceCorrelationsJSON answers PUT /api/v1/correlations, with all of them. What
// is kept of a trace is at its default if it is left out.
func (s *Server) replaceCorrelationsJSON(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return fmt.Errorf("read correlations: %w", err)
	}
	next := Correlations{Kept: graph.DefaultKept()}
	if err := decodeStrict(body, &next); err != nil {
		return err
	}
	if next.Correlations == nil {
		return &collab.InvalidError{Field: "correlations", Message: "Give correlations: all that are to hold from now on, or an empty list."}
	}
	err = s.changeCorrelations(c.Request().Context(), "correlations.replaced", countOf(len(next.Correlations), "correlation", "correlations"), func(set *Correlations) error {
		*set = next
		return nil
	})
	if err != nil {
		return err
	}
	return s.showCorrelationsJSON(c)
}

// showCorrelations is the settings page. With preview=1 it counts for a correlation
// that is only typed so far.
func (s *Server) showCorrelations(c echo.Context) error {
	v := views.Correlations{Means: string(graph.MeansMessage)}
	if c.QueryParam("preview") == "1" {
		v = correlationForm(c.QueryParam)
		v.Preview = true
	}
	switch c.QueryParam("done") {
	case "added":
		v.Done = "Added. It holds for what arrives from now on; for what is stored, rebuild the edges."
	case "removed":
		v.Done = "Removed. Threads have its hops no more; origins in queries may have them until the edges are rebuilt."
	case "kept":
		v.Done = "Saved. Summaries of traces that arrive from now on keep these."
	}
	return s.renderCorrelations(c, http.StatusOK, v)
}

func correlationForm(value func(string) string) views.Correlations {
	return views.Correlations{Name: value("name"), Means: value("means"), Cause: value("cause"), Effect: value("effect"), Scope: value("scope")}
}

func (s *Server) renderCorrelations(c echo.Context, status int, v views.Correlations) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	problem := v.Errors[""]
	done := v.Done
	var err error
	v.Settings, err = s.settings(c, views.TabCorrelations, "Correlations", "Attributes of your own that join a cause and its effect.")
	if err != nil {
		return err
	}
	v.Problem, v.Done = problem, done
	set, err := LoadCorrelations(ctx, s.Collab)
	if err != nil {
		return err
	}
	counts := map[string]string{}
	if v.Preview {
		v.PreviewCause = s.keyCounts(ctx, counts, splitNames(v.Cause))
		v.PreviewEffect = s.keyCounts(ctx, counts, splitNames(v.Effect))
		v.PreviewScope = s.keyCounts(ctx, counts, splitNames(v.Scope))
	}
	for i := range set.Correlations {
		k := &set.Correlations[i]
		v.List = append(v.List, views.CorrelationRow{Name: k.Name, Means: string(k.Means), Cause: s.keyCounts(ctx, counts, k.Cause),
			Effect: s.keyCounts(ctx, counts, k.Effect), Scope: s.keyCounts(ctx, counts, k.Scope)})
	}
	v.Kept = s.keyCounts(ctx, counts, set.Kept)
	if v.KeptText == "" {
		v.KeptText = strings.Join(set.Kept, "\n")
	}
	v.IsDefault = slices.Equal(set.Kept, graph.DefaultKept())
	columns, err := s.Store.Columns(ctx, "*", "")
	if err != nil {
		return fmt.Errorf("columns: %w", err)
	}
	for _, col := range columns {
		v.Columns = append(v.Columns, col.Name)
	}
	return render(c, status, views.CorrelationsPage(v))
}

// keyCounts counts the spans of the last hour that carry each key, as text. Counts
// that take too long are left out; known holds those made already.
func (s *Server) keyCounts(ctx context.Context, known map[string]string, keys []string) []views.KeyCount {
	list := make([]views.KeyCount, 0, len(keys))
	for _, key := range keys {
		text, ok := known[key]
		if !ok {
			if len(known) < maxPreviewed {
				text = s.keyCount(ctx, key)
			}
			known[key] = text
		}
		list = append(list, views.KeyCount{Key: key, Text: text, None: text == noSpans})
	}
	return list
}

// noSpans is the count of an attribute that no span carries.
const noSpans = "0 spans"

func (s *Server) keyCount(ctx context.Context, key string) string {
	seconds := float64(previewSeconds)
	res, err := s.Store.Query(ctx, query.Spec{Calculations: []query.Calculation{{Op: "COUNT"}}, Filters: []query.Filter{{Column: key, Op: "exists"}}, TimeRange: &seconds})
	if err != nil {
		if ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "count spans with an attribute", "key", key, "error", err)
		}
		return ""
	}
	if res.Total == nil {
		return noSpans
	}
	n, _ := res.Total.Data["COUNT"].(float64)
	return countOf(int(n), "span", "spans")
}

// createCorrelation answers POST /settings/correlations.
func (s *Server) createCorrelation(c echo.Context) error {
	v := correlationForm(c.FormValue)
	k := graph.Correlation{Name: v.Name, Means: graph.Meaning(v.Means), Cause: splitNames(v.Cause), Effect: splitNames(v.Effect), Scope: splitNames(v.Scope)}
	err := s.changeCorrelations(c.Request().Context(), "correlation.added", clip(strings.TrimSpace(k.Name), maxCorrelationName), func(set *Correlations) error {
		set.Correlations = append(set.Correlations, k)
		return nil
	})
	if fields, ok := fieldErrors(err, "name", "means", "cause", "effect", "scope"); ok {
		v.Errors = fields
		return s.renderCorrelations(c, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/correlations?done=added")
}

// deleteCorrelation answers POST /settings/correlations/delete.
func (s *Server) deleteCorrelation(c echo.Context) error {
	name := c.FormValue("name")
	err := s.changeCorrelations(c.Request().Context(), "correlation.removed", name, func(set *Correlations) error {
		i := slices.IndexFunc(set.Correlations, func(k graph.Correlation) bool { return k.Name == name })
		if i < 0 {
			return fmt.Errorf("correlation %q: %w", name, collab.ErrNotFound)
		}
		set.Correlations = slices.Delete(set.Correlations, i, i+1)
		return nil
	})
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/correlations?done=removed")
}

// updateKept answers POST /settings/correlations/kept: the attributes, or the
// usual ones.
func (s *Server) updateKept(c echo.Context) error {
	text := c.FormValue("kept")
	kept := splitNames(text)
	if c.FormValue("default") != "" {
		kept = graph.DefaultKept()
	}
	err := s.changeCorrelations(c.Request().Context(), "kept_attributes.changed", clip(strings.Join(kept, " "), 400), func(set *Correlations) error {
		set.Kept = kept
		return nil
	})
	if fields, ok := fieldErrors(err, "kept"); ok {
		return s.renderCorrelations(c, http.StatusUnprocessableEntity, views.Correlations{Means: string(graph.MeansMessage), KeptText: text, Errors: fields})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/correlations?done=kept")
}
