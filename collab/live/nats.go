package live

import "github.com/nats-io/nats.go"

// NATS is a [Bus] over a NATS connection, which its owner closes. While the
// connection is away wakes are lost; rooms find out by themselves.
type NATS struct{ Conn *nats.Conn }

// Publish sends a message; it does not wait for the server.
func (n NATS) Publish(subject string, payload []byte) error { return n.Conn.Publish(subject, payload) }

// Subscribe calls fn for each message, one after another.
func (n NATS) Subscribe(pattern string, fn func(subject string, payload []byte)) (func() error, error) {
	sub, err := n.Conn.Subscribe(pattern, func(m *nats.Msg) { fn(m.Subject, m.Data) })
	if err != nil {
		return nil, err
	}
	return func() error {
		if n.Conn.IsClosed() {
			return nil
		}
		return sub.Unsubscribe()
	}, nil
}
