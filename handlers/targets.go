package handlers

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
	"redthread/views/ui"
)

var reasonOptions = []views.ReasonOption{
	{Value: string(collab.ReasonOpened), Label: "an investigation is opened"},
	{Value: string(collab.ReasonStatus), Label: "its status changes"},
	{Value: string(collab.ReasonAssignment), Label: "somebody becomes its lead"},
	{Value: string(collab.ReasonTask), Label: "somebody is given a task"},
	{Value: string(collab.ReasonAsked), Label: "people or teams are asked in"},
	{Value: string(collab.ReasonDue), Label: "an update is due"},
	{Value: string(collab.ReasonMention), Label: "somebody is named in a note or a remark"},
}

// showTargets answers GET /settings/notifications.
func (s *Server) showTargets(c echo.Context) error {
	v := views.Targets{Chosen: map[string]bool{}}
	for _, r := range collab.Reasons {
		v.Chosen[string(r)] = true
	}
	switch c.QueryParam("done") {
	case "added":
		v.Settings.Done = "The target is added. Send it a test."
	case "test":
		v.Settings.Done = "A test is on its way; the log below tells how it went."
	case "replay":
		v.Settings.Done = "It is on its way again."
	}
	return s.renderTargets(c, http.StatusOK, v)
}

// maxDeliveries is how many deliveries the page shows.
const maxDeliveries = 50

func (s *Server) renderTargets(c echo.Context, status int, v views.Targets) error {
	ctx := c.Request().Context()
	page, err := s.page(c, "Notifications", views.SectionSettings)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/investigation.css"}
	v.Settings.Page, v.Settings.Tab, v.Settings.Title = page, views.TabNotifications, "Notifications"
	v.Reasons = reasonOptions
	targets, err := s.Collab.Targets(ctx)
	if err != nil {
		return err
	}
	for _, t := range targets {
		var words []string
		for _, r := range t.Reasons {
			words = append(words, string(r))
		}
		host := ""
		if u, err := url.Parse(t.URL); err == nil {
			host = u.Host
		}
		v.List = append(v.List, views.TargetView{ID: string(t.ID), Name: t.Name, Host: host, Reasons: strings.Join(words, ", "), Enabled: t.Enabled, Created: nanoTime(t.CreatedUnixNano)})
	}
	if v.Hosts, err = s.Collab.AllowedHosts(ctx); err != nil {
		return err
	}
	deliveries, err := s.Collab.FindDeliveries(ctx, maxDeliveries)
	if err != nil {
		return err
	}
	for i := range deliveries {
		v.Deliveries = append(v.Deliveries, deliveryView(&deliveries[i]))
	}
	return render(c, status, views.TargetsPage(v))
}

func deliveryView(d *collab.Delivery) views.DeliveryView {
	v := views.DeliveryView{ID: string(d.ID), Target: d.TargetName, Reason: string(d.Reason), Title: d.Notice.Title, State: string(d.State), Created: nanoTime(d.CreatedUnixNano)}
	if d.State == collab.DeliveryPending && len(d.Log) > 0 {
		v.Next = nanoTime(d.NextUnixNano)
	}
	for _, a := range d.Log {
		v.Attempts = append(v.Attempts, views.AttemptView{Number: a.Number, At: nanoTime(a.AtUnixNano), Took: ui.Duration(a.DurationNano),
			Status: a.Status, Response: a.Response, Error: a.Error})
	}
	return v
}

// createTarget answers POST /settings/notifications.
func (s *Server) createTarget(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	n := collab.TargetNew{Name: form.Get("name"), URL: form.Get("url")}
	chosen := map[string]bool{}
	for _, r := range form["reasons"] {
		if !slices.Contains(n.Reasons, collab.Reason(r)) {
			n.Reasons = append(n.Reasons, collab.Reason(r))
			chosen[r] = true
		}
	}
	_, err = s.Collab.CreateTarget(c.Request().Context(), n)
	var invalid *collab.InvalidError
	if errors.As(err, &invalid) {
		return s.renderTargets(c, http.StatusUnprocessableEntity, views.Targets{Name: n.Name, URL: n.URL, Chosen: chosen,
			Errors: views.FieldErrors{invalid.Field: invalid.Message}})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications?done=added")
}

func targetParam(c echo.Context) collab.TargetID { return collab.TargetID(c.Param("target")) }

// testTarget answers POST /settings/notifications/:target/test.
func (s *Server) testTarget(c echo.Context) error {
	if err := s.Collab.TestTarget(c.Request().Context(), targetParam(c)); err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications?done=test")
}

// enableTarget answers POST /settings/notifications/:target/enable.
func (s *Server) enableTarget(c echo.Context) error {
	if err := s.Collab.EnableTarget(c.Request().Context(), targetParam(c), true); err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications")
}

// disableTarget answers POST /settings/notifications/:target/disable.
func (s *Server) disableTarget(c echo.Context) error {
	if err := s.Collab.EnableTarget(c.Request().Context(), targetParam(c), false); err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications")
}

// deleteTarget answers POST /settings/notifications/:target/delete.
func (s *Server) deleteTarget(c echo.Context) error {
	if err := s.Collab.DeleteTarget(c.Request().Context(), targetParam(c)); err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications")
}

// allowHost answers POST /settings/notifications/hosts.
func (s *Server) allowHost(c echo.Context) error {
	err := s.Collab.AllowHost(c.Request().Context(), c.FormValue("host"))
	var invalid *collab.InvalidError
	if errors.As(err, &invalid) {
		return s.renderTargets(c, http.StatusUnprocessableEntity, views.Targets{Host: c.FormValue("host"), HostError: invalid.Message})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications")
}

// forbidHost answers POST /settings/notifications/hosts/delete.
func (s *Server) forbidHost(c echo.Context) error {
	if err := s.Collab.ForbidHost(c.Request().Context(), c.FormValue("host")); err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications")
}

// replayDelivery answers POST /settings/notifications/deliveries/:delivery/replay.
func (s *Server) replayDelivery(c echo.Context) error {
	if err := s.Collab.ReplayDelivery(c.Request().Context(), collab.DeliveryID(c.Param("delivery"))); err != nil {
		return err
	}
	return seeOther(c, "/settings/notifications?done=replay")
}
