package handlers

import (
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"redthread/collab"
)

// createBlock answers POST /i/:id/blocks: the forms at the end of a board.
func (s *Server) createBlock(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	due, err := utcField("due", formValue(form, "due"))
	if err != nil {
		return err
	}
	n := collab.BlockNew{Ref: form.Get("ref"), Kind: collab.BlockKind(form.Get("kind")), Title: form.Get("title"), Text: form.Get("text"),
		URL: form.Get("url"), TraceID: form.Get("trace_id"), SpanID: form.Get("span_id"), Assignee: form.Get("assignee")}
	if due != nil {
		n.DueUnixNano = *due
	}
	if q := form.Get("query"); q != "" {
		n.Query = []byte(q)
	}
	for _, pin := range form["side"] {
		n.Sides = append(n.Sides, collab.Side{PinID: collab.BlockID(pin)})
	}
	if n.Kind == collab.KindPicture {
		if n.Picture, err = formPicture(c); err != nil {
			return err
		}
	}
	b, _, err := s.Collab.CreateBlock(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return s.formDone(c, b.Offset, "/i/"+string(b.InvestigationID)+"#"+string(b.ID))
}

// formValue is a field of a form, nil if it has none of that name.
func formValue(form url.Values, name string) *string {
	if v, has := form[name]; has {
		return &v[0]
	}
	return nil
}

// changedValue is a field of a form, nil if it has none of that name or it says
// what it was drawn with: a form without scripts sends every field, also those
// that nobody touched and somebody else changed meanwhile.
func changedValue(form url.Values, name string) *string {
	v := formValue(form, name)
	if was := formValue(form, "was_"+name); v != nil && was != nil && *was == *v {
		return nil
	}
	return v
}

// formPicture reads the file of a form. Its name and its type, which the sender
// chose, are not looked at.
func formPicture(c echo.Context) ([]byte, error) {
	head, err := c.FormFile("picture")
	if err != nil {
		return nil, &collab.InvalidError{Field: "picture", Message: "Choose a picture first: PNG, JPEG, GIF or WebP."}
	}
	f, err := head.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, collab.MaxPictureBytes+1))
}

// updateBlock answers POST /i/:id/blocks/:block: the editor of a block, its
// state, and its moves.
func (s *Server) updateBlock(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u := collab.BlockUpdate{Ref: form.Get("ref")}
	if u.Seen, err = seenOf(form); err != nil {
		return err
	}
	value := func(name string) *string { return changedValue(form, name) }
	if u.DueUnixNano, err = utcField("due", value("due")); err != nil {
		return err
	}
	u.Title, u.Text, u.URL, u.Assignee = value("title"), value("text"), value("url"), value("assignee")
	u.State = (*collab.HypothesisState)(value("state"))
	if v := value("done"); v != nil {
		done := *v == "true"
		u.Done = &done
	}
	if form.Get("move") != "" {
		u.After = (*collab.BlockID)(value("after"))
	}
	return s.blockUpdated(c, blockParam(c), blockParam(c), u)
}

// blockUpdated applies u to a block and answers the form; the browser goes back
// to the block named by back.
func (s *Server) blockUpdated(c echo.Context, block, back collab.BlockID, u collab.BlockUpdate) error {
	id := investigationParam(c)
	path := "/i/" + string(id) + "#" + string(back)
	b, err := s.Collab.UpdateBlock(c.Request().Context(), id, block, u)
	if err != nil {
		return s.conflictPage(c, err, c.Request().URL.Path, path)
	}
	return s.formDone(c, b.Offset, path)
}

// citeBlock answers POST /i/:id/blocks/:block/cite: the block speaks for or
// against a hypothesis, or for none any more.
func (s *Server) citeBlock(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u := collab.BlockUpdate{Ref: form.Get("ref"), References: collab.References{blockParam(c): collab.EvidenceSide(form.Get("side"))}}
	if u.Seen, err = seenOf(form); err != nil {
		return err
	}
	return s.blockUpdated(c, collab.BlockID(form.Get("hypothesis")), blockParam(c), u)
}

// deleteBlock answers POST /i/:id/blocks/:block/delete.
func (s *Server) deleteBlock(c echo.Context) error {
	ctx, id := c.Request().Context(), investigationParam(c)
	if err := s.Collab.DeleteBlock(ctx, id, blockParam(c)); err != nil {
		return err
	}
	p, err := s.Collab.LogPosition(ctx, id)
	if err != nil {
		return err
	}
	return s.formDone(c, p.Offset, "/i/"+string(id))
}

// showPicture answers GET /i/:id/blocks/:block/picture with the file as it was
// sent. The type is what its first bytes say, and nosniff holds a browser to it.
func (s *Server) showPicture(c echo.Context) error {
	p, err := s.Collab.PictureByBlock(c.Request().Context(), investigationParam(c), blockParam(c))
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Content-Disposition", `inline; filename="`+url.PathEscape(string(blockParam(c)))+`"`)
	// It never changes, but who may see it can: it is asked for again, and mostly
	// answered by its hash alone.
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", strconv.Quote(p.SHA256))
	if c.Request().Header.Get("If-None-Match") == strconv.Quote(p.SHA256) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, p.Type, p.Body)
}
