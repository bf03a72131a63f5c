package handlers

import (
	"encoding/json"
	"math"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
)

// markerJSON is a marker as the API takes and gives it. Times are epoch seconds,
// as in queries; taken as RFC 3339, too.
type markerJSON struct {
	collab.Marker
	Time    float64  `json:"time"`
	EndTime *float64 `json:"end_time"` // null: a moment
}

func newMarkerJSON(m *collab.Marker) markerJSON {
	out := markerJSON{Marker: *m, Time: float64(m.StartUnixNano) / 1e9}
	if m.EndUnixNano > 0 {
		end := float64(m.EndUnixNano) / 1e9
		out.EndTime = &end
	}
	return out
}

// maxMarkerSeconds keeps times within 64 bits of nanoseconds.
const maxMarkerSeconds = 9e9

// secondsField reads a time: epoch seconds or RFC 3339; 0 for none.
func secondsField(field string, raw json.RawMessage) (int64, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	var seconds float64
	if json.Unmarshal(raw, &seconds) == nil && seconds > 0 && seconds < maxMarkerSeconds {
		return int64(math.Round(seconds*1e6)) * 1e3, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if t, err := time.Parse(time.RFC3339, text); err == nil && t.Unix() > 0 {
			return t.UnixNano(), nil
		}
	}
	return 0, &collab.InvalidError{Field: field, Message: "A time is in seconds since 1970, or text as 2026-11-22T14:03:00Z."}
}

// createMarkerJSON answers POST /api/v1/markers.
func (s *Server) createMarkerJSON(c echo.Context) error {
	var in struct {
		Ref         string          `json:"ref"`
		Time        json.RawMessage `json:"time"`
		EndTime     json.RawMessage `json:"end_time"`
		Type        string          `json:"type"`
		Message     string          `json:"message"`
		URL         string          `json:"url"`
		Service     string          `json:"service"`
		Environment string          `json:"environment"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	n := collab.MarkerNew{Ref: in.Ref, Type: in.Type, Message: in.Message, URL: in.URL, Service: in.Service, Environment: in.Environment}
	var err error
	if n.StartUnixNano, err = secondsField("time", in.Time); err != nil {
		return err
	}
	if n.EndUnixNano, err = secondsField("end_time", in.EndTime); err != nil {
		return err
	}
	m, fresh, err := s.Collab.CreateMarker(c.Request().Context(), n)
	if err != nil {
		return err
	}
	return c.JSON(created(fresh), newMarkerJSON(m))
}

// markerList is the answer of GET /api/v1/markers.
type markerList struct {
	Markers []markerJSON `json:"markers"` // the newest first
}

// listMarkers answers GET
// /api/v1/markers?from=&to=&service=&environment=&type=&limit=.
func (s *Server) listMarkers(c echo.Context) error {
	f := collab.MarkerFilter{Environment: c.QueryParam("environment"), Type: c.QueryParam("type")}
	for field, into := range map[string]*int64{"from": &f.FromUnixNano, "to": &f.ToUnixNano} {
		text := c.QueryParam(field)
		if text == "" {
			continue
		}
		raw := json.RawMessage(text)
		if !json.Valid(raw) {
			raw, _ = json.Marshal(text) // a string always encodes
		}
		var err error
		if *into, err = secondsField(field, raw); err != nil {
			return err
		}
	}
	if service := c.QueryParam("service"); service != "" {
		f.Services = []string{service}
	}
	var err error
	if f.Limit, err = limitParam(c, 100, 1_000); err != nil {
		return err
	}
	list, err := s.Collab.FindMarkers(c.Request().Context(), f)
	if err != nil {
		return err
	}
	out := markerList{Markers: []markerJSON{}}
	for i := range list {
		out.Markers = append(out.Markers, newMarkerJSON(&list[i]))
	}
	return c.JSON(http.StatusOK, out)
}

// deleteMarkerJSON answers DELETE /api/v1/markers/:marker.
func (s *Server) deleteMarkerJSON(c echo.Context) error {
	if err := s.Collab.DeleteMarker(c.Request().Context(), collab.MarkerID(c.Param("marker"))); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
