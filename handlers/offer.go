package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

const (
	maxOfferText = 8 << 10 // of what was pasted; an Explore link is long
	maxOffers    = 5
)

// showOffer answers GET /i/:id/offer?text=: what a pasted text can be put on the
// board as, as a page or a fragment.
func (s *Server) showOffer(c echo.Context) error {
	ctx := c.Request().Context()
	text := strings.TrimSpace(c.QueryParam("text"))
	if len(text) > maxOfferText {
		return &collab.InvalidError{Field: "text", Message: "That is too long for an id or a link."}
	}
	inv, err := s.Collab.InvestigationByID(ctx, investigationParam(c))
	if err != nil {
		return err
	}
	v := views.OfferView{InvestigationID: string(inv.ID), Text: text}
	if v.Offers, err = s.offers(ctx, c.Request(), text); err != nil {
		return err
	}
	if isFragment(c) {
		return render(c, http.StatusOK, views.OfferFragment(v))
	}
	if v.Page, err = s.page(c, "Pin to "+inv.Title, views.SectionInvestigations); err != nil {
		return err
	}
	v.Page.Styles = []string{"css/investigation.css", "css/board.css"}
	return render(c, http.StatusOK, views.OfferPage(v))
}

// offers says what a text names: a page of this server, an id of a trace, span,
// request or job, or an address elsewhere.
func (s *Server) offers(ctx context.Context, r *http.Request, text string) ([]views.Offer, error) {
	if text == "" || strings.ContainsAny(text, "\n\r") {
		return nil, nil
	}
	if u, err := url.Parse(text); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		own := u.Host == r.Host || u.Scheme+"://"+u.Host == s.PublicAddress()
		if !own {
			return []views.Offer{{Ref: uuid.NewString(), Kind: string(collab.KindLink), URL: text, Title: text}}, nil
		}
		return s.offersOfPath(ctx, u)
	}
	if u, err := url.Parse(text); err == nil && u.Host == "" && strings.HasPrefix(text, "/") {
		return s.offersOfPath(ctx, u)
	}
	return s.offersOfID(ctx, text)
}

// offersOfPath says what a page of this server shows.
func (s *Server) offersOfPath(ctx context.Context, u *url.URL) ([]views.Offer, error) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch {
	case parts[0] == "explore" && len(parts) == 1:
		st := readExplore(u.Query(), s.Now())
		if st.faulty() {
			return nil, nil
		}
		return []views.Offer{{Ref: uuid.NewString(), Kind: string(collab.KindQuery), Query: st.specJSON(), Title: st.title()}}, nil
	case (parts[0] == "t" || parts[0] == "thread") && len(parts) >= 2:
		id := parts[1]
		span := ""
		if parts[0] == "t" && len(parts) > 2 {
			span = parts[2]
		} else if parts[0] == "t" {
			span = u.Query().Get("span")
		}
		if span != "" {
			id += ":" + span
		}
		list, err := s.offersOfID(ctx, id)
		if parts[0] == "thread" && len(list) > 0 {
			list = list[:1] // the others are parts of it
			list[0].Kind, list[0].SpanID = string(collab.KindThread), ""
		}
		return list, err
	}
	return s.offerLink(ctx, u, parts)
}

// linkedPages are the screens that a board can link to, by the first part of their
// address, and what one thing on them is.
var linkedPages = map[string][2]string{
	"i": {"", "Investigation"}, "services": {"Services", "Service"}, "ripples": {"Ripples", ""},
	"messages": {"Messages", "Messages on"}, "jobs": {"Jobs", "Job"}, "investigations": {"Investigations", ""},
}

// offerLink offers a page of this server that holds no evidence as a link, called by
// what it shows. Of an investigation that not everybody may see the title stays there.
func (s *Server) offerLink(ctx context.Context, u *url.URL, parts []string) ([]views.Offer, error) {
	words, known := linkedPages[parts[0]]
	if !known {
		return nil, nil
	}
	title := words[0]
	if len(parts) > 1 {
		title = strings.TrimSpace(words[1] + " " + parts[1])
	}
	if parts[0] == "i" && len(parts) > 1 {
		inv, err := s.Collab.InvestigationByID(ctx, collab.InvestigationID(parts[1]))
		var merged *collab.MergedError
		if errors.Is(err, collab.ErrNotFound) || errors.As(err, &merged) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if title = inv.Title; inv.Visibility != collab.VisibilityWorkspace {
			title = words[1]
		}
	}
	if title == "" {
		return nil, nil
	}
	local := url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, Fragment: u.Fragment}
	return []views.Offer{{Ref: uuid.NewString(), Kind: string(collab.KindLink), URL: local.String(), Title: title, Called: clipRunes(title, 180)}}, nil
}

// offersOfID offers what is found by an id, the spans of a trace and its thread
// too.
func (s *Server) offersOfID(ctx context.Context, text string) ([]views.Offer, error) {
	if len(text) > maxFindText {
		return nil, nil
	}
	found, _, err := s.find(ctx, text)
	if _, invalid := fieldErrors(err); invalid || errors.Is(err, collab.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []views.Offer
	for _, f := range found {
		if len(list) >= maxOffers {
			break
		}
		o := views.Offer{Ref: uuid.NewString(), Kind: string(collab.KindSpan), TraceID: f.TraceID.String(), SpanID: f.SpanID.String(), Title: f.Label}
		if f.Kind == "trace" || f.SpanID.IsZero() {
			o.Kind, o.SpanID = string(collab.KindTrace), ""
			thread := o
			thread.Ref, thread.Kind = uuid.NewString(), string(collab.KindThread)
			list = append(list, o, thread)
			continue
		}
		list = append(list, o)
	}
	return list, nil
}

// showPreview answers POST /preview with a text as it will look.
func (s *Server) showPreview(c echo.Context) error {
	if err := c.Request().ParseForm(); err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	text := c.Request().PostForm.Get("text")
	if len(text) > maxPreviewBytes {
		return &collab.InvalidError{Field: "text", Message: "That is too long for a note."}
	}
	return render(c, http.StatusOK, views.PreviewFragment(markdown(text)))
}

// maxPreviewBytes is the longest note, in the longest letters.
const maxPreviewBytes = 20_000 * 4
