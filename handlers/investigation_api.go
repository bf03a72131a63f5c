package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/trace"
)

// readJSON decodes the body of an API request. What cannot be decoded is a
// *collab.InvalidError that names the field.
func readJSON(c echo.Context, v any) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	return decodeStrict(body, v)
}

// readFields is readJSON that tells which of the fields are null, which is not the
// same as left out.
func readFields(c echo.Context, v any) (empty map[string]bool, err error) {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if err := decodeStrict(body, v); err != nil {
		return nil, err
	}
	return nullFields(body)
}

// nullFields are the fields of a JSON object that are null.
func nullFields(body []byte) (map[string]bool, error) {
	var fields map[string]json.RawMessage
	if err := decodeJSON(body, &fields); err != nil {
		return nil, err
	}
	empty := map[string]bool{}
	for name, raw := range fields {
		if string(raw) == "null" {
			empty[name] = true
		}
	}
	return empty, nil
}

// clearEmpty takes away what an update says is null: the lead and the times. The
// others are never empty.
func clearEmpty(u *collab.InvestigationUpdate, empty map[string]bool) error {
	for _, name := range []string{"title", "status", "severity", "kind", "visibility"} {
		if empty[name] {
			return &collab.InvalidError{Field: name, Message: "This is never empty. Say what it is to be, or leave the field out."}
		}
	}
	if empty["lead"] {
		u.Lead = new(string)
	}
	for name, at := range map[string]**int64{"next_update_unix_nano": &u.NextUpdateUnixNano, "impact_start_unix_nano": &u.ImpactStartUnixNano, "impact_end_unix_nano": &u.ImpactEndUnixNano} {
		if empty[name] {
			*at = new(int64)
		}
	}
	return nil
}

// decodeStrict is decodeJSON for what programs send over HTTP, where a field that
// does not exist is a mistake of which its sender should hear.
func decodeStrict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return &collab.InvalidError{Message: "The body has to be one JSON object."}
	}
	// The package has no type for this error.
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		if field, quoted := strconv.Unquote(name); quoted == nil {
			return &collab.InvalidError{Field: clipRunes(field, 60), Message: "This call has no field of that name." + fieldsOf(v)}
		}
	}
	return decodeJSON(body, v)
}

// fieldsOf says which fields the JSON of a struct has.
func fieldsOf(v any) string {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return ""
	}
	var names []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " It has " + strings.Join(names, ", ") + "."
}

func decodeJSON(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return &collab.InvalidError{Field: wrong.Field, Message: "Expected " + jsonTypeOf(wrong) + ", got " + wrong.Value + "."}
	}
	if name := unquoted(body, v); name != "" {
		return &collab.InvalidError{Field: name, Message: `Expected a string of digits, as in "1795381829680000000": many programs round numbers of that size.`}
	}
	return &collab.InvalidError{Message: "The body has to be a JSON object with the fields of this call."}
}

// unquoted is the first field of a struct that has to be a whole number in a JSON
// string and is something else; the JSON package does not say which.
func unquoted(body []byte, v any) string {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var fields map[string]json.RawMessage
	if t.Kind() != reflect.Struct || json.Unmarshal(body, &fields) != nil {
		return ""
	}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		raw, ok := fields[name]
		if !ok || string(raw) == "null" || !slices.Contains(strings.Split(options, ","), "string") {
			continue
		}
		text, err := strconv.Unquote(string(raw))
		if err == nil {
			_, err = strconv.ParseInt(text, 10, 64)
		}
		if err != nil {
			return name
		}
	}
	return ""
}

func jsonTypeOf(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "string":
		return "a string"
	case "int64", "int":
		return "a whole number"
	case "slice":
		return "a list"
	case "bool":
		return "true or false"
	}
	return "an object"
}

// int64Param reads a whole number ≥ 0 of the query string.
func int64Param(c echo.Context, name string) (n int64, given bool, err error) {
	text := c.QueryParam(name)
	if text == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, false, &collab.InvalidError{Field: name, Message: "Give a whole number, 0 or more."}
	}
	return n, true, nil
}

func investigationParam(c echo.Context) collab.InvestigationID {
	return collab.InvestigationID(c.Param("id"))
}

func blockParam(c echo.Context) collab.BlockID { return collab.BlockID(c.Param("block")) }

func created(fresh bool) int {
	if fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}

// investigationList is the answer of GET /api/v1/investigations.
type investigationList struct {
	Investigations []collab.Investigation `json:"investigations"`
	Next           string                 `json:"next"` // the after of the next page, "" at the end
}

// listInvestigations answers GET /api/v1/investigations.
func (s *Server) listInvestigations(c echo.Context) error {
	limit, err := limitParam(c, 50, 200)
	if err != nil {
		return err
	}
	f := collab.InvestigationFilter{After: collab.InvestigationID(c.QueryParam("after")), Limit: limit}
	for _, st := range strings.Split(c.QueryParam("status"), ",") {
		if st != "" {
			f.Statuses = append(f.Statuses, collab.Status(st))
		}
	}
	for _, sev := range strings.Split(c.QueryParam("severity"), ",") {
		if sev != "" {
			f.Severities = append(f.Severities, collab.Severity(sev))
		}
	}
	for _, team := range strings.Split(c.QueryParam("team"), ",") {
		if team != "" {
			f.TeamIDs = append(f.TeamIDs, collab.TeamID(team))
		}
	}
	f.Kind, f.Text, f.UserID = collab.InvestigationKind(c.QueryParam("kind")), strings.TrimSpace(c.QueryParam("q")), c.QueryParam("user")
	if len([]rune(f.Text)) > maxListText {
		return &collab.InvalidError{Field: "q", Message: fmt.Sprintf("What is looked for has at most %d letters.", maxListText)}
	}
	list, more, err := s.Collab.FindInvestigations(c.Request().Context(), f)
	if err != nil {
		return err
	}
	out := investigationList{Investigations: list}
	if more {
		out.Next = string(list[len(list)-1].ID)
	}
	return c.JSON(http.StatusOK, out)
}

// createInvestigationJSON answers POST /api/v1/investigations.
func (s *Server) createInvestigationJSON(c echo.Context) error {
	var n collab.InvestigationNew
	empty, err := readFields(c, &n)
	if err != nil {
		return err
	}
	if empty["lead"] {
		n.Lead = new(string) // nobody; left out, it is whoever opens it
	}
	inv, fresh, err := s.Collab.CreateInvestigation(c.Request().Context(), n)
	if err != nil {
		return err
	}
	return c.JSON(created(fresh), inv)
}

// boardJSON is an investigation with what stands on its board.
type boardJSON struct {
	*collab.Investigation
	Board       []collab.Block      `json:"blocks"`
	Annotations []collab.Annotation `json:"annotations"`
	// StatusHistory has the first status first.
	StatusHistory []collab.StatusAt   `json:"status_history"`
	Suggested     *collab.Suggestions `json:"suggested"`
}

// boardThenJSON is a board as it was at an offset.
type boardThenJSON struct {
	*collab.Investigation
	Board       []collab.Block        `json:"blocks"`
	Annotations []collab.Annotation   `json:"annotations"`
	AtUnixNano  int64                 `json:"at_unix_nano,string"` // when that change was made
	Last        int64                 `json:"last_offset"`         // where the log ends now
	Erased      []collab.ErasedObject `json:"erased"`              // stood there, and was deleted since
}

// showInvestigationJSON answers GET /api/v1/investigations/:id, with at= as it was
// then.
func (s *Server) showInvestigationJSON(c echo.Context) error {
	ctx := c.Request().Context()
	at, err := s.momentParam(c)
	if err != nil {
		return err
	}
	if at > 0 {
		then, err := s.Collab.BoardAt(ctx, investigationParam(c), at)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, boardThenJSON{then.Investigation, then.Blocks, then.Annotations, then.AtUnixNano, then.Last, then.Erased})
	}
	b, err := s.Collab.Board(ctx, investigationParam(c))
	if err != nil {
		return err
	}
	out := boardJSON{Investigation: b.Investigation, Board: b.Blocks, Annotations: b.Annotations}
	if out.StatusHistory, err = s.Collab.StatusHistory(ctx, b.Investigation.ID); err != nil {
		return err
	}
	if out.Suggested, err = s.Collab.Suggest(ctx, b.Investigation.ID); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, out)
}

// updateInvestigationJSON answers PATCH /api/v1/investigations/:id.
func (s *Server) updateInvestigationJSON(c echo.Context) error {
	var u collab.InvestigationUpdate
	empty, err := readFields(c, &u)
	if err != nil {
		return err
	}
	if err := clearEmpty(&u, empty); err != nil {
		return err
	}
	inv, err := s.Collab.UpdateInvestigation(c.Request().Context(), investigationParam(c), u)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, inv)
}

// deleteInvestigationJSON answers DELETE /api/v1/investigations/:id.
func (s *Server) deleteInvestigationJSON(c echo.Context) error {
	if err := s.Collab.DeleteInvestigation(c.Request().Context(), investigationParam(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// createBlockJSON answers POST /api/v1/investigations/:id/pins and …/blocks.
func (s *Server) createBlockJSON(c echo.Context) error {
	var n collab.BlockNew
	if err := readJSON(c, &n); err != nil {
		return err
	}
	b, fresh, err := s.Collab.CreateBlock(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return c.JSON(created(fresh), b)
}

// blockJSON is a block with the frozen copy behind it.
type blockJSON struct {
	*collab.Block
	Evidence *collab.Evidence `json:"evidence"` // with its body
}

// showBlockJSON answers GET /api/v1/investigations/:id/pins/:block.
func (s *Server) showBlockJSON(c echo.Context) error {
	ctx := c.Request().Context()
	b, err := s.Collab.BlockByID(ctx, investigationParam(c), blockParam(c))
	if err != nil {
		return err
	}
	out := blockJSON{Block: b}
	if b.Kind.Pin() {
		if out.Evidence, err = s.Collab.EvidenceByBlock(ctx, b.InvestigationID, b.ID); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusOK, out)
}

// updateBlockJSON answers PATCH /api/v1/investigations/:id/pins/:block.
func (s *Server) updateBlockJSON(c echo.Context) error {
	var u collab.BlockUpdate
	if err := readJSON(c, &u); err != nil {
		return err
	}
	b, err := s.Collab.UpdateBlock(c.Request().Context(), investigationParam(c), blockParam(c), u)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, b)
}

// deleteBlockJSON answers DELETE /api/v1/investigations/:id/pins/:block.
func (s *Server) deleteBlockJSON(c echo.Context) error {
	if err := s.Collab.DeleteBlock(c.Request().Context(), investigationParam(c), blockParam(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// changeList is the answer of GET /api/v1/investigations/:id/changes.
type changeList struct {
	Epoch   string          `json:"epoch"`
	Offset  int64           `json:"offset"` // of the log's last change
	Changes []collab.Change `json:"changes"`
	More    bool            `json:"more"`
}

// listChanges answers GET /api/v1/investigations/:id/changes.
func (s *Server) listChanges(c echo.Context) error {
	ctx := c.Request().Context()
	after, _, err := int64Param(c, "after")
	if err != nil {
		return err
	}
	limit, err := limitParam(c, collab.MaxChanges, collab.MaxChanges)
	if err != nil {
		return err
	}
	if _, err := s.Collab.InvestigationByID(ctx, investigationParam(c)); err != nil {
		return err
	}
	list, p, err := s.Collab.Changes(ctx, investigationParam(c), after, limit)
	if err != nil {
		return err
	}
	out := changeList{Epoch: p.Epoch, Offset: p.Offset, Changes: list}
	if n := len(list); n > 0 {
		out.More = list[n-1].Offset < p.Offset
	}
	return c.JSON(http.StatusOK, out)
}

// annotationList is the answer of GET /api/v1/annotations.
type annotationList struct {
	Annotations []collab.Annotation `json:"annotations"`
}

// listAnnotations answers GET /api/v1/annotations by anchor:
// trace_id= and span_id=, or investigation_id= and pin_id=.
func (s *Server) listAnnotations(c echo.Context) error {
	f := collab.AnnotationFilter{InvestigationID: collab.InvestigationID(c.QueryParam("investigation_id")), PinID: collab.BlockID(c.QueryParam("pin_id")), Limit: maxTraceNotes}
	var err error
	if text := c.QueryParam("trace_id"); text != "" {
		if f.TraceID, err = trace.ParseID(text); err != nil {
			return &collab.InvalidError{Field: "trace_id", Message: sentence(err)}
		}
	}
	if text := c.QueryParam("span_id"); text != "" {
		if f.SpanID, err = trace.ParseSpanID(text); err != nil {
			return &collab.InvalidError{Field: "span_id", Message: sentence(err)}
		}
	}
	switch { // what the other anchor does not have would be left out without a word
	case f.TraceID.IsZero() && !f.SpanID.IsZero():
		return &collab.InvalidError{Field: "trace_id", Message: "Name the trace of the span, too."}
	case f.PinID != "" && (f.InvestigationID == "" || !f.TraceID.IsZero()):
		return &collab.InvalidError{Field: "pin_id", Message: "Name the investigation of the pin, and no trace."}
	}
	list, err := s.Collab.FindAnnotations(c.Request().Context(), f)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, annotationList{list})
}

// createAnnotationJSON answers POST /api/v1/annotations.
func (s *Server) createAnnotationJSON(c echo.Context) error {
	var n collab.AnnotationNew
	if err := readJSON(c, &n); err != nil {
		return err
	}
	a, fresh, err := s.Collab.CreateAnnotation(c.Request().Context(), n)
	if err != nil {
		return err
	}
	return c.JSON(created(fresh), a)
}

// showAnnotationJSON answers GET /api/v1/annotations/:annotation.
func (s *Server) showAnnotationJSON(c echo.Context) error {
	a, err := s.Collab.AnnotationByID(c.Request().Context(), collab.AnnotationID(c.Param("annotation")))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a)
}

// updateAnnotationJSON answers PATCH /api/v1/annotations/:annotation.
func (s *Server) updateAnnotationJSON(c echo.Context) error {
	var u collab.AnnotationUpdate
	if err := readJSON(c, &u); err != nil {
		return err
	}
	a, err := s.Collab.UpdateAnnotation(c.Request().Context(), collab.AnnotationID(c.Param("annotation")), u)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a)
}

// deleteAnnotationJSON answers DELETE /api/v1/annotations/:annotation.
func (s *Server) deleteAnnotationJSON(c echo.Context) error {
	if err := s.Collab.DeleteAnnotation(c.Request().Context(), collab.AnnotationID(c.Param("annotation"))); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
