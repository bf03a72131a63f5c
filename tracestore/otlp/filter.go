package otlp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

// Filter takes attributes out of export requests, or puts a hash in place of their
// values. It rewrites the request itself, so that whatever reads it later, the
// ingest log first of all, never sees them. Its methods may be called from several
// goroutines.
//
// A name is that of an attribute of a span, event, link, resource, scope or log
// record, exact, or "prefix.*" for all that begin with "prefix.". A map counts as
// the dotted names of what is in it, however deep and also inside arrays: "user"
// takes the map whole, "user.email" or "user.*" what it holds. As rows name them,
// "resource.x" and "scope.x" are also x of the resource or the scope alone, "body"
// is what a log record says, and "status_message" that of a span's status.
//
// A hash is the text "hash:" and 32 hex digits: the first half of HMAC-SHA256, by
// the secret, of the value's text (trace.Value.Text). Equal values of whatever
// type, name and request have equal hashes.
type Filter struct {
	record, resource, scope rules
	body, status            action
	secret                  []byte
	passes                  sync.Pool // of *filterPass
}

// HashPrefix begins the text that stands for a hashed value.
const HashPrefix = "hash:"

// hashBytes is how much of the HMAC is kept: 128 bits, at which two of 2^50
// values are alike by chance once in 10^8 installations.
const hashBytes = 16

// action is what becomes of an attribute; the greater one wins.
type action uint8

const (
	actionKeep action = iota
	actionHash
	actionDrop
)

// rules are the names for one kind of list.
type rules struct {
	exact    map[string]action
	prefixes map[string]action // that end with a dot
	first    [256]bool         // bytes that a name of either begins with
	all      action
}

func (r *rules) add(name string, a action) {
	prefix, wild := strings.CutSuffix(name, "*")
	switch {
	case wild && prefix == "":
		r.all = max(r.all, a)
	case wild:
		r.prefixes[prefix] = max(r.prefixes[prefix], a)
		r.first[prefix[0]] = true
	case name != "":
		r.exact[name] = max(r.exact[name], a)
		r.first[name[0]] = true
	}
}

// of returns what becomes of a name.
func (r *rules) of(name []byte) action {
	if !r.touches(name) {
		return actionKeep
	}
	a := max(r.all, r.exact[string(name)])
	if len(r.prefixes) > 0 {
		for i, c := range name {
			if c == '.' {
				a = max(a, r.prefixes[string(name[:i+1])])
			}
		}
	}
	return a
}

// touches reports whether a name, or one that it begins, may be meant.
func (r *rules) touches(name []byte) bool {
	return r.all != actionKeep || len(name) > 0 && r.first[name[0]]
}

// NewFilter returns a filter that drops some attributes and hashes others by the
// secret; what is both is dropped. Without names it returns nil.
func NewFilter(drop, hash []string, secret []byte) *Filter {
	if len(drop)+len(hash) == 0 {
		return nil
	}
	f := &Filter{secret: append([]byte(nil), secret...)}
	for _, r := range []*rules{&f.record, &f.resource, &f.scope} {
		r.exact, r.prefixes = map[string]action{}, map[string]action{}
	}
	add := func(names []string, a action) {
		for _, name := range names {
			for _, r := range []*rules{&f.record, &f.resource, &f.scope} {
				r.add(name, a)
			}
			if of, ok := strings.CutPrefix(name, "resource."); ok {
				f.resource.add(of, a)
			}
			if of, ok := strings.CutPrefix(name, "scope."); ok {
				f.scope.add(of, a)
			}
		}
	}
	add(hash, actionHash)
	add(drop, actionDrop)
	// The decoder lifts BullMQ's reason to exception.message.
	if a := f.record.of([]byte(keyExceptionMessage)); a != actionKeep {
		f.record.add(keyFailedReason, a)
	}
	f.body, f.status = f.record.of([]byte(AttrBody)), f.record.of([]byte(fieldStatusMessage))
	f.passes.New = func() any { return &filterPass{f: f, mac: hmac.New(sha256.New, f.secret)} }
	return f
}

// fieldStatusMessage is the name of a span's status message in rows.
const fieldStatusMessage = "status_message"

// Apply appends the request to dst, as protobuf, as the filter leaves it. The
// request is one that [Validate] accepts; dst must not overlap it.
func (f *Filter) Apply(dst []byte, sig Signal, raw []byte) ([]byte, error) {
	p := f.passes.Get().(*filterPass)
	defer f.passes.Put(p)
	p.dst, p.d.raw = dst, raw
	err := p.message(requestOf(sig), raw)
	dst = p.dst
	p.dst, p.d.raw = nil, nil
	return dst, err
}

// filterPass is one walk through a request.
type filterPass struct {
	f    *Filter
	d    Decoder // reads values
	dst  []byte
	path []byte // the dotted name of what is being read
	mac  hash.Hash
	text []byte // of the value that is hashed
	sum  [sha256.Size]byte
}

func (p *filterPass) rules(m *message) *rules {
	switch m {
	case resource:
		return &p.f.resource
	case scope:
		return &p.f.scope
	}
	return &p.f.record
}

// message writes the fields of a message that holds attributes, or others that do.
// What stays as it is, is copied in runs.
func (p *filterPass) message(m *message, b []byte) error {
	var f wireField
	r := p.rules(m)
	from := 0 // what was read and not written begins here
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return p.d.invalid(b, i, why)
		}
		def := m.byNumber(f.number)
		if def == nil || f.typ != wireBytes || def.message == nil && m != status || def.message == entityRef {
			i = j
			continue
		}
		var err error
		switch {
		case m == status: // its one text
			if p.f.status != actionKeep {
				p.dst = append(p.dst, b[from:i]...)
				from = j
				if p.f.status == actionHash {
					p.text = append(p.text[:0], f.data...)
					p.dst = append(appendTag(p.dst, f.number, hashTextLen), p.hashed()...)
				}
			}
		case def.message == keyValue:
			var name, val []byte
			if name, val, err = p.d.pair(f.data); err != nil {
				return err
			}
			a := r.of(name)
			if a == actionKeep && !(r.touches(name) && p.compound(val)) {
				break
			}
			p.dst = append(p.dst, b[from:i]...)
			from = j
			p.path = append(p.path[:0], name...)
			err = p.pair(r, a, f.number, name, val)
		case def.message == anyValue: // what a log record says
			if p.f.body == actionKeep && !(r.touches([]byte(AttrBody)) && p.compound(f.data)) {
				break
			}
			p.dst = append(p.dst, b[from:i]...)
			from = j
			if p.f.body != actionDrop {
				p.path = append(p.path[:0], AttrBody...)
				err = p.valueField(r, p.f.body, f.number, f.data)
			}
		default:
			p.dst = append(p.dst, b[from:i]...)
			from = j
			at := p.open(f.number)
			if err = p.message(def.message, f.data); err == nil {
				p.dst = closeNested(p.dst, at)
			}
		}
		if err != nil {
			return err
		}
		i = j
	}
	p.dst = append(p.dst, b[from:]...)
	return nil
}

func (p *filterPass) open(number int) int {
	p.dst = appendTag(p.dst, number, 0)
	return len(p.dst) - 1
}

// compound reports whether an AnyValue may be a map or an array.
func (p *filterPass) compound(val []byte) bool {
	if len(val) == 0 {
		return false
	}
	var f wireField
	j, _ := next(val, 0, &f)
	return j != len(val) || f.number == 5 || f.number == 6
}

// pair writes a KeyValue as a field of the number, or nothing if it is dropped.
func (p *filterPass) pair(r *rules, a action, number int, name, val []byte) error {
	if a == actionDrop {
		return nil
	}
	at := p.open(number)
	p.dst = appendBytesField(p.dst, 1, name)
	if err := p.valueField(r, a, 2, val); err != nil {
		return err
	}
	p.dst = closeNested(p.dst, at)
	return nil
}

// valueField writes an AnyValue as a field of the number: its hash, or itself
// without what is dropped in it.
func (p *filterPass) valueField(r *rules, a action, number int, val []byte) error {
	at := p.open(number)
	if a == actionHash {
		v, _, _, err := p.d.value(val, &p.d.arena)
		if err != nil {
			return err
		}
		p.text = append(p.text[:0], v.Text()...)
		p.d.arena = p.d.arena[:0]
		p.dst = append(appendTag(p.dst, 1, hashTextLen), p.hashed()...)
	} else if err := p.inside(r, val); err != nil {
		return err
	}
	p.dst = closeNested(p.dst, at)
	return nil
}

// inside writes what an AnyValue holds; p.path is its name.
func (p *filterPass) inside(r *rules, val []byte) error {
	f, err := p.d.oneof(val)
	if err != nil {
		return err
	}
	if f.typ != wireBytes || f.number != 5 && f.number != 6 {
		p.dst = append(p.dst, val...)
		return nil
	}
	at, long := p.open(f.number), len(p.path)
	err = p.d.each(f.data, 1, func(b []byte) error {
		if f.number == 5 {
			return p.valueField(r, actionKeep, 1, b)
		}
		name, val, err := p.d.pair(b)
		if err != nil {
			return err
		}
		p.path = append(append(p.path[:long], '.'), name...)
		err = p.pair(r, r.of(p.path), 1, name, val)
		p.path = p.path[:long]
		return err
	})
	p.dst = closeNested(p.dst, at)
	return err
}

// hashTextLen is the length of what stands for a hashed value.
const hashTextLen = len(HashPrefix) + 2*hashBytes

// hashed returns what stands for p.text, which it overwrites.
func (p *filterPass) hashed() []byte {
	p.mac.Reset()
	p.mac.Write(p.text)
	sum := p.mac.Sum(p.sum[:0])
	return hex.AppendEncode(append(p.text[:0], HashPrefix...), sum[:hashBytes])
}
