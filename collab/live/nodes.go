package live

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// presenceSubject carries who is where between servers. A message that is lost
// is made good by the next refresh.
const presenceSubject = "v1.presence"

// maxConnsPerNews keeps one message far below the payload of NATS.
const maxConnsPerNews = 100

// news is what one server tells the others.
type news struct {
	Node   string   `json:"node"`
	Conns  []*conn  `json:"conns"` // as they are now
	Gone   []string `json:"gone"`  // ids
	Orders []order  `json:"orders"`
	// New is set by a server that has just begun: the others repeat what they
	// have. Bye: nobody is there any more.
	New bool `json:"new"`
	Bye bool `json:"bye"`
}

func (n *news) empty() bool {
	return len(n.Conns)+len(n.Gone)+len(n.Orders) == 0 && !n.New && !n.Bye
}

// takeNews collects what the other servers do not know yet. Hub.mu is held.
func (p *presence) takeNews() news {
	var n news
	for id := range p.dueNodes {
		if c := p.conns[id]; c != nil {
			n.Conns = append(n.Conns, c)
		} else {
			n.Gone = append(n.Gone, id)
		}
	}
	clear(p.dueNodes)
	return n
}

// publish sends news. It is nothing to be sure of: without NATS, or with one
// that is away, the others learn it later or forget us.
func (p *presence) publish(n news) {
	h := p.hub
	if h.nats == nil || n.empty() {
		return
	}
	n.Node = p.node
	conns := n.Conns
	for {
		part := n
		part.Conns = conns[:min(len(conns), maxConnsPerNews)]
		conns = conns[len(part.Conns):]
		if err := h.nats.Publish(presenceSubject, Encode(part)); err != nil {
			h.logger.Debug("presence not told to other servers", "error", err)
			return
		}
		if len(conns) == 0 {
			return
		}
		n.Gone, n.Orders, n.New, n.Bye = nil, nil, false, false
	}
}

// publishAll repeats who is here.
func (p *presence) publishAll() {
	p.hub.mu.Lock()
	var n news
	for _, c := range p.conns {
		if c.sub != nil {
			n.Conns = append(n.Conns, c)
		}
	}
	p.hub.mu.Unlock()
	p.publish(n)
}

// hear takes what another server tells.
func (p *presence) hear(m *nats.Msg) {
	var n news
	if err := json.Unmarshal(m.Data, &n); err != nil || n.Node == "" || n.Node == p.node {
		return
	}
	p.hub.mu.Lock()
	now := time.Now()
	for _, c := range n.Conns {
		if c == nil || c.ID == "" || c.Who == "" {
			continue
		}
		if known := p.conns[c.ID]; known != nil && known.sub != nil {
			continue // ours
		}
		c.Path, c.Scroll, c.Cursor, c.heard = cleanPath(c.Path), c.Scroll.clean(), c.Cursor.clean(), now
		p.put(c)
	}
	for _, id := range n.Gone {
		if c := p.conns[id]; c != nil && c.sub == nil {
			p.remove(c)
		}
	}
	if n.Bye {
		for id, c := range p.conns {
			if c.sub == nil && len(id) > len(n.Node) && id[:len(n.Node)+1] == n.Node+"." {
				p.remove(c)
			}
		}
	}
	p.hub.mu.Unlock()
	for _, o := range n.Orders {
		p.obey(o)
	}
	if n.New {
		p.publishAll()
	}
}
