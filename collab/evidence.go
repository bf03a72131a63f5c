package collab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"redthread/tracestore/trace"
)

// Locator says what a pin shows: a span, a trace, the thread of a trace, or a
// query.
type Locator struct {
	Kind    BlockKind       `json:"kind"`
	TraceID trace.ID        `json:"trace_id"`
	SpanID  trace.SpanID    `json:"span_id"`
	Query   json.RawMessage `json:"query,omitempty"`
	Sides   []Side          `json:"sides,omitempty"` // of a comparison
}

// Frozen is evidence as it was when it was read.
type Frozen struct {
	Title string // a short name for the board
	Path  string // where the live view is, from "/"
	// Query is the query with its time range made absolute, for a query.
	Query json.RawMessage
	// Body is JSON; the store makes it canonical before it hashes it.
	Body []byte
	// Sides are those of a comparison; a source leaves them empty.
	Sides []Side
	Facts EvidenceFacts
}

// EvidenceFacts are what a frozen copy tells of itself: by them an investigation
// knows its services, when the impact may have been, and which other one is about
// the same request.
type EvidenceFacts struct {
	Services []string // that the evidence is about, each once
	// FirstUnixNano and LastUnixNano are the begin and end of its spans; 0: it has
	// none, as an answer to a query.
	FirstUnixNano, LastUnixNano int64
	// Origin is the trace that began it all, zero if not known for certain.
	Origin trace.ID
}

// join adds the facts of another copy. Of two origins there is none.
func (f *EvidenceFacts) join(o EvidenceFacts) {
	for _, s := range o.Services {
		if !slices.Contains(f.Services, s) {
			f.Services = append(f.Services, s)
		}
	}
	if o.FirstUnixNano > 0 && (f.FirstUnixNano == 0 || o.FirstUnixNano < f.FirstUnixNano) {
		f.FirstUnixNano = o.FirstUnixNano
	}
	f.LastUnixNano = max(f.LastUnixNano, o.LastUnixNano)
	if f.Origin.IsZero() {
		f.Origin = o.Origin
	} else if !o.Origin.IsZero() && o.Origin != f.Origin {
		f.Origin = trace.ID{}
	}
}

// maxFactServices bounds the services of one copy: a trace that crosses more is
// no help in finding who owns it.
const maxFactServices = 100

// columns are the facts as the table of evidence holds them.
func (f EvidenceFacts) columns() (services, origin string, err error) {
	list := slices.Compact(slices.Sorted(slices.Values(f.Services)))
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	raw, err := marshal(append([]string{}, list[:min(len(list), maxFactServices)]...))
	if err != nil {
		return "", "", err
	}
	if !f.Origin.IsZero() {
		origin = f.Origin.String()
	}
	return string(raw), origin, nil
}

// EvidenceSource reads what a locator shows, which is never a comparison: that
// is made of two others. Its methods are called before a transaction opens, by
// several goroutines.
type EvidenceSource interface {
	// Freeze answers ErrNotFound if nothing is there, and an *InvalidError if the
	// locator makes no sense.
	Freeze(ctx context.Context, l Locator) (Frozen, error)
	// Compare says what differs between two bodies of a kind, the weightiest first;
	// none if the differences do not concern what is pinned. It answers ErrNotFound
	// if the live body shows that all of it is gone, as an answer without rows does.
	Compare(kind BlockKind, frozen, live json.RawMessage) ([]Difference, error)
}

// Difference is one thing that is not now what it was. Frozen or Live is "" if
// it was not there.
type Difference struct {
	What   string `json:"what"`
	Frozen string `json:"frozen"`
	Live   string `json:"live"`
}

// Evidence is the frozen copy behind a pin.
type Evidence struct {
	EvidenceInfo
	Asked json.RawMessage `json:"asked"` // the locator
	Body  json.RawMessage `json:"body"`  // canonical JSON
	Facts EvidenceFacts   `json:"-"`
}

// CanonicalJSON rewrites one JSON value so that equal values have equal bytes:
// object keys sorted bytewise, no white space, numbers as they were written,
// nothing escaped but what must be.
func CanonicalJSON(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// hashHex is the SHA-256 of b as 64 lower-case hex digits.
func hashHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
