package handlers

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// againFields are the fields in which people write on an investigation's pages and on
// those of annotations, in the order in which a form that comes back shows them.
var againFields = []views.AgainField{
	{Name: "title", Label: "Title"},
	{Name: "url", Label: "Address"},
	{Name: "text", Label: "Text", Long: true},
	{Name: "side"},
	{Name: "assignee", Label: "Given to"},
	{Name: "due", Label: "Due (UTC, optional)"},
	{Name: "happened", Label: "Happened (UTC)"},
	{Name: "at", Label: "At"},
	{Name: "until", Label: "Until (optional)"},
	{Name: "impact_start", Label: "Impact began (UTC)"},
	{Name: "impact_end", Label: "Impact over (UTC)"},
	{Name: "role", Label: "Role"},
	{Name: "service_in", Label: "Service"},
	{Name: "picture", Label: "PNG, JPEG, GIF or WebP, at most 5 MB (choose it again)", Type: "file"},
}

// again answers a form of an investigation or an annotation that is refused, where no
// script keeps what was typed: the same fields come back, filled in, with a way to the
// board. It answers false if the request was no such form.
func (s *Server) again(c echo.Context, failed error) (bool, error) {
	var invalid *collab.InvalidError
	r := c.Request()
	ours := strings.HasPrefix(r.URL.Path, "/i/") || r.URL.Path == "/annotations" || strings.HasPrefix(r.URL.Path, "/annotations/")
	if !errors.As(failed, &invalid) || r.Method != http.MethodPost || !ours || !wantsPage(c) || isFragment(c) {
		return false, nil
	}
	form, err := c.FormParams()
	if err != nil {
		return false, nil
	}
	v := views.Again{Message: invalid.Message, Action: r.URL.Path, Deletes: strings.HasSuffix(r.URL.Path, "/delete")}
	v.Back, v.BackLabel = againBack(c, form)
	if v.Page, err = s.page(c, "Not saved", views.SectionInvestigations); err != nil {
		return false, err
	}
	v.Page.Styles = []string{"css/investigation.css", "css/board.css"}
	if err := s.fillAgain(c, &v, form, invalid.Field); err != nil {
		return false, err
	}
	return true, render(c, http.StatusUnprocessableEntity, views.AgainPage(v))
}

// maxAgain is how often a form has one field at most: the two sides of a comparison.
const maxAgain = 2

// fillAgain fills in the fields of a form as they were sent.
func (s *Server) fillAgain(c echo.Context, v *views.Again, form url.Values, wrong string) error {
	shown := map[string]bool{}
	wrong = strings.TrimSuffix(wrong, "_unix_nano")
	picture := form.Get("kind") == string(collab.KindPicture)
	for _, f := range againFields {
		values := form[f.Name]
		if f.Type == "file" && picture {
			v.Files, values = true, []string{""}
		}
		shown[f.Name] = len(values) > 0
		for i, value := range values[:min(len(values), maxAgain)] {
			f.Value, f.Wrong = value, f.Name == wrong || f.Name == "side" && wrong == "sides"
			if err := s.againChoice(c, &f, i); err != nil {
				return err
			}
			v.Fields = append(v.Fields, f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			if !shown[name] {
				v.Keep = append(v.Keep, views.Option{Label: name, Value: value})
			}
		}
	}
	return nil
}

// againChoice fills in what a choice can be.
func (s *Server) againChoice(c echo.Context, f *views.AgainField, nth int) error {
	if f.Name != "assignee" && f.Name != "side" {
		return nil
	}
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	if f.Name == "assignee" {
		f.Options = b.peopleOptions(f.Value, "somebody")
		return nil
	}
	f.Options = b.composer().Pins
	f.Label = []string{"This", "beside this"}[min(nth, 1)]
	return nil
}

// againBack is the page that a form stood on.
func againBack(c echo.Context, form url.Values) (path, label string) {
	id := c.Param("id")
	if id == "" {
		id = form.Get("investigation_id")
	}
	switch back := form.Get("back"); {
	case back != "":
		return sitePath(back), "Back"
	case id != "":
		return "/i/" + url.PathEscape(id), "Back to the board"
	case form.Get("trace_id") != "":
		return "/t/" + url.PathEscape(form.Get("trace_id")), "Back to the trace"
	}
	return "/investigations", "All investigations"
}
