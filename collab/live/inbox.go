package live

import (
	"encoding/json"

	"github.com/nats-io/nats.go"
)

// inboxSubject carries between servers whose inboxes changed, and nothing else: a
// page that hears of it asks. A message that is lost is made good when it asks
// unasked.
const inboxSubject = "v1.inbox"

// maxInboxesTold keeps one message far below the payload of NATS.
const maxInboxesTold = 500

// InboxChanged tells a page that the inbox of its person may hold something else.
type InboxChanged struct {
	Type string `json:"type"`
}

// TellInboxes tells every page of some people, here and on other servers, that
// their inbox changed. It does not block. It is what [collab.Store.OnInbox] calls.
func (h *Hub) TellInboxes(users []string) {
	h.tellInboxes(users)
	for h.nats != nil && len(users) > 0 {
		part := users[:min(len(users), maxInboxesTold)]
		users = users[len(part):]
		if err := h.nats.Publish(inboxSubject, Encode(inboxNews{h.presence.node, part})); err != nil {
			h.logger.Debug("inboxes not told to other servers", "error", err)
			return
		}
	}
}

type inboxNews struct {
	Node  string   `json:"node"`
	Users []string `json:"users"`
}

func (h *Hub) hearInboxes(m *nats.Msg) {
	var n inboxNews
	if json.Unmarshal(m.Data, &n) == nil && n.Node != h.presence.node {
		h.tellInboxes(n.Users)
	}
}

func (h *Hub) tellInboxes(users []string) {
	var subs []*Subscriber
	h.mu.Lock()
	for _, user := range users {
		for _, c := range h.presence.people[user] {
			if c.sub != nil {
				subs = append(subs, c.sub)
			}
		}
	}
	h.mu.Unlock()
	m := Encode(InboxChanged{TypeInbox})
	for _, s := range subs {
		s.pushNewest("inbox", m)
	}
}
