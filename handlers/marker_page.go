package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// maxMarkerRows is how many markers a page lists, and maxChartMarkers how many
	// stand on charts: more than one picture can tell apart.
	maxMarkerRows   = 100
	maxChartMarkers = 200
)

// markerRow is a marker as pages show it to an actor.
func markerRow(m *collab.Marker, a collab.Actor) views.MarkerRow {
	row := views.MarkerRow{ID: string(m.ID), Type: m.Type, Service: m.Service, Environment: m.Environment, Message: m.Message, URL: m.URL,
		By: m.CreatedByName, At: nanoTime(m.StartUnixNano), CanDelete: m.CreatedBy == a.ID && a.Role.AtLeast(collab.RoleMember) || a.Role.AtLeast(collab.RoleAdmin)}
	if m.Service != "" {
		row.ServiceClass = views.ServiceClass(m.Service)
	}
	if m.EndUnixNano > m.StartUnixNano {
		row.End, row.For = nanoTime(m.EndUnixNano), ui.Duration(m.EndUnixNano-m.StartUnixNano)
	}
	if apart := m.CreatedUnixNano - m.StartUnixNano; apart >= 60e9 || apart <= -60e9 {
		row.Created = nanoTime(m.CreatedUnixNano)
	}
	return row
}

// findMarkerRows are the markers of a window about services, nil for all, and an
// environment, "" for all: the oldest first, as charts have them.
func (s *Server) findMarkerRows(ctx context.Context, w timeWindow, services []string, environment string) ([]views.MarkerRow, error) {
	list, err := s.Collab.FindMarkers(ctx, collab.MarkerFilter{FromUnixNano: w.From.UnixNano(), ToUnixNano: w.To.UnixNano(),
		Services: services, Environment: environment, Limit: maxChartMarkers})
	if err != nil {
		return nil, err
	}
	var rows []views.MarkerRow
	for _, m := range slices.Backward(list) {
		rows = append(rows, markerRow(&m, collab.Actor{}))
	}
	return rows, nil
}

// servicesAsked are the services that a query is limited to; nil: it is not.
func servicesAsked(spec *query.Spec) []string {
	if spec.FilterCombination == "OR" && len(spec.Filters) > 1 {
		return nil
	}
	for _, f := range spec.Filters {
		if f.Column != "service.name" {
			continue
		}
		switch v := f.Value.(type) {
		case string:
			if f.Op == "=" {
				return []string{v}
			}
		case []any:
			if f.Op == "in" {
				names := []string{}
				for _, one := range v {
					names = append(names, fmt.Sprint(one))
				}
				return names
			}
		}
	}
	return nil
}

// markCharts puts markers on the charts of a page.
func markCharts(charts []views.ExploreChart, rows []views.MarkerRow) {
	for _, c := range charts {
		if c.Heat != nil {
			c.Heat.Time.Markers = rows
		}
		if c.Line != nil {
			c.Line.Time.Markers = rows
		}
	}
}

// showMarkers answers GET /settings/markers.
func (s *Server) showMarkers(c echo.Context) error {
	return s.renderMarkers(c, http.StatusOK, views.Markers{})
}

func (s *Server) renderMarkers(c echo.Context, status int, v views.Markers) error {
	ctx := c.Request().Context()
	problem := v.Errors[""]
	var err error
	if v.Settings, err = s.settings(c, views.TabMarkers, "Markers", "What changed, and when: deploys, flags, migrations."); err != nil {
		return err
	}
	v.Page.Styles = []string{"css/markers.css"}
	v.Problem = problem
	if c.QueryParam("done") == "added" {
		v.Done = "Added. It stands on the charts of its time."
	}
	a, _ := collab.ActorFrom(ctx)
	v.CanAdd = a.Role.AtLeast(collab.RoleMember)
	v.Service, v.Environment, v.Type = cleanText(c.QueryParam("service")), cleanText(c.QueryParam("environment")), cleanText(c.QueryParam("type"))
	f := collab.MarkerFilter{Environment: v.Environment, Type: v.Type, Limit: maxMarkerRows + 1, Before: collab.MarkerID(c.QueryParam("before"))}
	if v.Service != "" {
		f.Services = []string{v.Service}
	}
	if text := c.QueryParam("to"); text != "" {
		if to, err := strconv.ParseInt(text, 10, 64); err == nil && to > 0 {
			f.ToUnixNano, v.Newest = to, markersURL(v, nil)
		} else {
			v.Problem, f.Before = notAPlace, ""
		}
	}
	list, err := s.Collab.FindMarkers(ctx, f)
	var invalid *collab.InvalidError
	if errors.As(err, &invalid) && invalid.Field == "before" {
		v.Problem, v.Newest, f.Before, f.ToUnixNano = notAPlace, "", "", 0
		list, err = s.Collab.FindMarkers(ctx, f)
	}
	if err != nil {
		return err
	}
	if len(list) > maxMarkerRows {
		list = list[:maxMarkerRows]
		last := list[len(list)-1]
		v.Older = markersURL(v, url.Values{"to": {strconv.FormatInt(last.StartUnixNano, 10)}, "before": {string(last.ID)}})
	}
	v.Types, v.Services, v.Environments = []string{"deploy"}, []string{v.Service}, []string{v.Environment}
	for i := range list {
		m := &list[i]
		v.List = append(v.List, markerRow(m, a))
		v.Types, v.Services, v.Environments = append(v.Types, m.Type), append(v.Services, m.Service), append(v.Environments, m.Environment)
	}
	e := s.explorer()
	for _, known := range []struct {
		column string
		into   *[]string
	}{{"service.name", &v.Services}, {environmentColumn, &v.Environments}} {
		names, err := e.topValues(ctx, known.column)
		if err != nil {
			return err
		}
		*known.into = namesOnce(append(*known.into, names...))
	}
	v.Types = namesOnce(append(v.Types, v.Type))
	if v.Form.Ref == "" {
		v.Form.Ref = uuid.NewString()
	}
	v.Curl = `curl -X POST ` + s.ownAddress(c.Request()) + `/api/v1/markers \
  -H "Authorization: Bearer $REDTHREAD_TOKEN" -H "Content-Type: application/json" \
  -d '{"type": "deploy", "service": "my-service", "environment": "production", "message": "'"$GIT_COMMIT"'", "ref": "'"$BUILD_ID"'"}'`
	return render(c, status, views.MarkersPage(v))
}

// markersURL is the page with the filter of v and more.
func markersURL(v views.Markers, more url.Values) string {
	q := url.Values{}
	for name, value := range map[string]string{"service": v.Service, "environment": v.Environment, "type": v.Type} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, values := range more {
		q[name] = values
	}
	return strings.TrimSuffix("/settings/markers?"+q.Encode(), "?")
}

// namesOnce sorts names and drops empty ones and those said before.
func namesOnce(names []string) []string {
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// createMarker answers POST /settings/markers.
func (s *Server) createMarker(c echo.Context) error {
	f := views.MarkerForm{Ref: c.FormValue("ref"), Type: c.FormValue("type"), Service: c.FormValue("service"), Environment: c.FormValue("environment"),
		Message: c.FormValue("message"), URL: c.FormValue("url"), Time: c.FormValue("time"), End: c.FormValue("end_time")}
	err := s.putMarker(c.Request().Context(), f)
	if fields, ok := fieldErrors(err, "type", "message", "service", "environment", "url", "time", "end_time"); ok {
		return s.renderMarkers(c, http.StatusUnprocessableEntity, views.Markers{Form: f, Errors: fields})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/markers?done=added")
}

func (s *Server) putMarker(ctx context.Context, f views.MarkerForm) error {
	n := collab.MarkerNew{Ref: f.Ref, Type: f.Type, Service: f.Service, Environment: f.Environment, Message: f.Message, URL: f.URL}
	for _, t := range []struct {
		name, text string
		into       *int64
	}{{"time", f.Time, &n.StartUnixNano}, {"end_time", f.End, &n.EndUnixNano}} {
		at, err := utcField(t.name, &t.text)
		if err != nil {
			return err
		}
		*t.into = *at
	}
	_, _, err := s.Collab.CreateMarker(ctx, n)
	return err
}

// deleteMarker answers POST /settings/markers/:marker/delete.
func (s *Server) deleteMarker(c echo.Context) error {
	if err := s.Collab.DeleteMarker(c.Request().Context(), collab.MarkerID(c.Param("marker"))); err != nil {
		return err
	}
	return seeOther(c, "/settings/markers")
}
