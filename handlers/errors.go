package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/views"
)

// statusClientGone is what nginx logs when the client left before the answer.
const statusClientGone = 499

// failure is an error as a person or a program is told it.
type failure struct {
	Status     int
	Code       string
	Message    string
	Field      string
	RetryAfter time.Duration // 0: not said
	// Conflict holds both versions of a field that two people changed.
	Conflict *collab.ConflictError
}

// describe turns an error into its status and words. Anything it does not know
// is an internal error, of which only the request id is shown.
func describe(err error) failure {
	var (
		conflict *collab.ConflictError
		merged   *collab.MergedError
		invalid  *collab.InvalidError
		refused  *collab.ForbiddenError
		asked    *query.InvalidError
		busy     *query.BusyError
		limited  *auth.LimitedError
		tooBig   *http.MaxBytesError
		unread   *tracestore.ReadError
		he       *echo.HTTPError
	)
	switch {
	case errors.As(err, &invalid):
		return failure{Status: http.StatusBadRequest, Code: "invalid", Message: invalid.Message, Field: invalid.Field}
	case errors.As(err, &asked):
		return failure{Status: http.StatusBadRequest, Code: "invalid", Message: asked.Message, Field: asked.Field}
	case errors.As(err, &busy):
		return failure{Status: http.StatusServiceUnavailable, Code: "busy", Message: busy.Message, RetryAfter: busy.RetryAfter}
	case errors.As(err, &limited):
		return failure{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: limited.Error(), RetryAfter: limited.RetryAfter}
	case errors.As(err, &tooBig):
		return failure{Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Message: fmt.Sprintf("The request is larger than the limit of %d bytes.", tooBig.Limit)}
	case errors.As(err, &merged):
		return failure{Status: http.StatusConflict, Code: "merged", Message: "This investigation was merged into " + string(merged.Into) + "; go on there."}
	case errors.Is(err, collab.ErrErased):
		return failure{Status: http.StatusGone, Code: "deleted", Message: "This was done already, and what it made was deleted since. Do not send it again."}
	case errors.Is(err, collab.ErrNotFound), errors.Is(err, graph.ErrNotFound):
		return failure{Status: http.StatusNotFound, Code: "not_found", Message: "There is nothing here, or it is not for you to see."}
	case errors.As(err, &conflict):
		return failure{Status: http.StatusConflict, Code: "conflict", Message: conflictWords(conflict), Field: conflict.Field, Conflict: conflict}
	case errors.Is(err, collab.ErrConflict):
		return failure{Status: http.StatusConflict, Code: "conflict", Message: "Somebody changed this meanwhile. Reload and try again."}
	case errors.As(err, &refused):
		return failure{Status: http.StatusForbidden, Code: "forbidden", Message: refused.Message}
	case errors.Is(err, collab.ErrForbidden):
		return failure{Status: http.StatusForbidden, Code: "forbidden", Message: "Your role does not allow this."}
	case errors.Is(err, context.Canceled):
		return failure{Status: statusClientGone, Code: "canceled", Message: "The request was canceled."}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{Status: http.StatusGatewayTimeout, Code: "timeout", Message: "This took too long and was stopped. Try a shorter time range."}
	case errors.As(err, &unread):
		return failure{Status: http.StatusInternalServerError, Code: "unreadable", Message: "The disk cannot read " + filepath.Base(unread.Path) +
			" (" + unread.Err.Error() + "), in which stored spans stand that this needs. It answers again when the file can be read; redthread check names every such file."}
	case errors.As(err, &he):
		return describeHTTP(he)
	}
	return failure{Status: http.StatusInternalServerError, Code: "internal", Message: "Something went wrong on our side."}
}

func describeHTTP(he *echo.HTTPError) failure {
	f := failure{Status: he.Code, Code: strings.ReplaceAll(strings.ToLower(http.StatusText(he.Code)), " ", "_")}
	switch he.Code {
	case http.StatusNotFound:
		f.Message = "There is nothing here, or it is not for you to see."
	case http.StatusMethodNotAllowed:
		f.Message = "This address does not answer to that method."
	default:
		f.Message = http.StatusText(he.Code) + "."
	}
	if msg, ok := he.Message.(string); ok && he.Code < 500 && msg != http.StatusText(he.Code) {
		f.Message = msg
	}
	if he.Code == http.StatusUnauthorized {
		f.Code = "unauthorized"
	}
	return f
}

// setRetryAfter says in whole seconds, rounded up, when to try again.
func setRetryAfter(c echo.Context, d time.Duration) {
	c.Response().Header().Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
}

// errorBody is the JSON of an error (DESIGN.md §8).
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Field   string `json:"field,omitempty"`
	} `json:"error"`
}

func newErrorBody(c echo.Context, f failure) errorBody {
	var body errorBody
	body.Error.Code, body.Error.Message, body.Error.Field = f.Code, f.Message, f.Field
	if f.Status == http.StatusInternalServerError {
		body.Error.Message += " Request " + requestIDOf(c) + "."
	}
	return body
}

// conflictBody is the JSON of a conflict: both versions, and where the log is.
type conflictBody struct {
	errorBody
	Yours  any    `json:"yours"`
	Theirs any    `json:"theirs"`
	Merged string `json:"merged"`
	Offset int64  `json:"offset"`
	// Who set the field, and when; "" and 0 if that is not known.
	ActorName string `json:"actor_name"`
	AtNano    int64  `json:"at,string"`
}

func conflictWords(e *collab.ConflictError) string {
	if e.Field == "ref" {
		return "This ref was used for another request already."
	}
	who := cmp.Or(e.ActorName, "Somebody")
	if e.AtNano > 0 {
		return who + " changed the " + e.Field + " at " + nanoTime(e.AtNano).Format("2006-01-02 15:04:05 UTC") + ", after you saw it. Look at both versions and decide."
	}
	return who + " changed the " + e.Field + " since you saw it. Look at both versions and decide."
}

// handleError is the one place that answers a request with an error.
func (s *Server) handleError(err error, c echo.Context) {
	f := describe(err)
	if f.Status >= 500 && f.Status != http.StatusServiceUnavailable && !errors.Is(err, context.DeadlineExceeded) {
		s.Log.ErrorContext(c.Request().Context(), "request failed", "request_id", requestIDOf(c),
			"method", c.Request().Method, "route", c.Path(), "error", err)
	}
	if c.Response().Committed {
		return
	}
	if to := mergedPath(c, err); to != "" {
		if err := c.Redirect(http.StatusTemporaryRedirect, to); err != nil {
			s.Log.DebugContext(c.Request().Context(), "write redirect", "request_id", requestIDOf(c), "error", err)
		}
		return
	}
	if f.RetryAfter > 0 {
		setRetryAfter(c, f.RetryAfter)
	}
	if f.Status == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="redthread"`)
	}
	done, againErr := s.again(c, err)
	if againErr != nil {
		s.Log.WarnContext(c.Request().Context(), "form cannot come back", "request_id", requestIDOf(c), "error", againErr)
	}
	if done {
		return
	}
	if err := s.writeError(c, f); err != nil {
		s.Log.DebugContext(c.Request().Context(), "write error answer", "request_id", requestIDOf(c), "error", err)
	}
}

// mergedPath is where what was asked of an investigation that was merged into
// another is now, "" if it is not. A change is not sent on, nor the log: both
// were meant for offsets of the old one.
func mergedPath(c echo.Context, err error) string {
	var merged *collab.MergedError
	r := c.Request()
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !errors.As(err, &merged) || !read || c.Param("id") == "" || strings.HasSuffix(c.Path(), "/changes") {
		return ""
	}
	return strings.Replace(r.URL.RequestURI(), "/"+c.Param("id"), "/"+string(merged.Into), 1)
}

func (s *Server) writeError(c echo.Context, f failure) error {
	if c.Request().Method == http.MethodHead {
		return c.NoContent(f.Status)
	}
	if !wantsPage(c) {
		body := newErrorBody(c, f)
		if f.Conflict != nil {
			return c.JSON(f.Status, conflictBody{body, f.Conflict.Yours, f.Conflict.Theirs, f.Conflict.Merged, f.Conflict.Offset, f.Conflict.ActorName, f.Conflict.AtNano})
		}
		return c.JSON(f.Status, body)
	}
	v := views.ErrorPage{Status: f.Status, Message: f.Message, RequestID: requestIDOf(c)}
	if isFragment(c) {
		return render(c, f.Status, views.ErrorFragment(v))
	}
	p, err := s.page(c, http.StatusText(f.Status), "")
	if err != nil { // the page of an error has to work whatever else does not
		p = views.Page{Title: http.StatusText(f.Status), Now: s.Now()}
	}
	return render(c, f.Status, views.Error(p, v))
}

// wantsPage reports whether the error goes to a person: the API, the live and
// the ingest routes speak JSON, and pages do to their scripts.
func wantsPage(c echo.Context) bool {
	if g, ok := c.Get(ctxGroup).(group); ok {
		return g == groupPage && !wantsJSON(c)
	}
	return false
}
