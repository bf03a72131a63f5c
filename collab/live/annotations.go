package live

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"

	"redthread/collab"
)

// annotationsSubject carries between servers on which traces somebody wrote. A
// message that is lost is made good when the page is looked at again.
const annotationsSubject = "v1.annotations"

// AnnotationsChanged tells the page of a trace that what is written on it may be
// something else now.
type AnnotationsChanged struct {
	Type string `json:"type"`
}

// TellAnnotations tells every page of a trace, here and on other servers, that
// somebody wrote on it in an investigation, or, with "", in none: whoever may not
// see that is not told. Without a trace, who may see what has changed: the pages of
// all traces are told, since which is nobody's business, and every room looks who may
// still read. It does not block. It is what
// [collab.Store.OnAnnotation] calls.
func (h *Hub) TellAnnotations(trace string, in collab.InvestigationID) {
	h.tellAnnotations(trace, in)
	if h.nats == nil {
		return
	}
	if err := h.nats.Publish(annotationsSubject, Encode(annotationNews{h.presence.node, trace, in})); err != nil {
		h.logger.Debug("annotations not told to other servers", "error", err)
	}
}

type annotationNews struct {
	Node  string                 `json:"node"`
	Trace string                 `json:"trace"`
	In    collab.InvestigationID `json:"in"`
}

func (h *Hub) hearAnnotations(m *nats.Msg) {
	var n annotationNews
	if json.Unmarshal(m.Data, &n) == nil && n.Node != h.presence.node {
		h.tellAnnotations(n.Trace, n.In)
	}
}

func (h *Hub) tellAnnotations(trace string, in collab.InvestigationID) {
	if trace == "" {
		h.recheck()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var subs []*Subscriber
	for _, c := range h.presence.conns {
		if c.sub != nil && strings.HasPrefix(c.place, tracePlace(trace)) && (trace == "" || c.place == tracePlace(trace)) {
			subs = append(subs, c.sub)
		}
	}
	if len(subs) == 0 || h.closed {
		return
	}
	h.done.Go(func() {
		m := Encode(AnnotationsChanged{TypeAnnotations})
		may := map[string]bool{}
		for _, s := range subs {
			sees, asked := may[s.who.ID]
			if !asked {
				sees = in == "" || h.maySee(s.who, in)
				may[s.who.ID] = sees
			}
			if sees {
				s.pushNewest("annotations", m)
			}
		}
	})
}

// tracePlace is the place of everybody who has a trace or its thread open.
func tracePlace(trace string) string { return "t:" + strings.ToLower(trace) }
