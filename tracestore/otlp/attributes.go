package otlp

import (
	"strings"
	"unicode/utf8"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// A list of attributes is one of these; a key knows its place in each.
const (
	listResource = iota
	listScope
	listRow
	listInner // of an event or a link
	lists
)

// key is a key of attributes, met before: its text is checked, hashed and has
// memory of its own.
type key struct {
	name  string
	hash  uint64 // column.HashString(0, name)
	marks column.Marks
	next  guess // the keys that followed it
	// at says where each list has the key: at index, if round is the list's.
	at [lists]struct {
		round uint64
		index int
	}
	shared uint64 // the serial of the last shared list that had it
}

// guess are the last two keys at a place: rows of two kinds, one after the other,
// part ways where their keys begin to differ.
type guess [2]*key

// Bounds of the keys that a decoder keeps from request to request.
const (
	maxKeys     = 64 << 10
	maxKeyBytes = 8 << 20
)

// keyTable are the keys met so far.
type keyTable struct {
	marks  func(key string) column.Marks // nil: none
	byName map[string]*key
	bytes  int
	arena  []byte
	// Keys that every row is asked for.
	service, err, exceptionType, exceptionMessage, failedReason *key
}

func newKeyTable(marks func(key string) column.Marks) *keyTable {
	t := &keyTable{marks: marks, byName: make(map[string]*key)}
	t.service, t.err = t.key(keyService), t.key("error")
	t.exceptionType, t.exceptionMessage, t.failedReason = t.key(keyExceptionType), t.key(keyExceptionMessage), t.key(keyFailedReason)
	return t
}

func (t *keyTable) full() bool { return len(t.byName) > maxKeys || t.bytes > maxKeyBytes }

// key finds or makes a key. What is not UTF-8 is repaired.
func (t *keyTable) key(name string) *key {
	if k := t.byName[name]; k != nil {
		return k
	}
	if !utf8.ValidString(name) {
		t.arena = t.arena[:0]
		return t.key(repaired(name, &t.arena))
	}
	k := &key{name: strings.Clone(name)}
	k.hash = column.HashString(0, name)
	if t.marks != nil {
		k.marks = t.marks(k.name)
	}
	t.byName[k.name] = k
	t.bytes += len(name)
	return k
}

// attributes is a list in which each key stands once.
type attributes struct {
	keys  *keyTable
	which int    // listRow and so on
	round uint64 // of the list's content
	guess *guess // of the next key

	list   []trace.Attribute
	hashes []column.AttributeHash // of list
	keyOf  []*key                 // of list
	marks  column.Marks           // of list; what was removed may be among them

	first   guess  // of the first key
	shared  uint64 // the serial of the shared list that goes with this one; 0: none
	clashes bool   // whether a key of the list is in the shared list too
}

func (a *attributes) reset() {
	a.list, a.hashes, a.keyOf = a.list[:0], a.hashes[:0], a.keyOf[:0]
	a.round++
	a.guess = &a.first
	a.clashes, a.marks = false, 0
}

// key finds or makes a key, which is most likely one that followed the last key
// before.
func (a *attributes) key(name string) *key {
	g := a.guess
	if k := g[0]; k != nil && k.name == name {
		return k
	}
	k := g[1]
	if k == nil || k.name != name {
		k = a.keys.key(name)
	}
	g[0], g[1] = k, g[0]
	return k
}

// find returns the position of a key, or -1.
func (a *attributes) find(k *key) int {
	if at := &k.at[a.which]; at.round == a.round {
		return at.index
	}
	return -1
}

// putKey sets the key: the last value wins. hash is the value's.
func (a *attributes) putKey(k *key, v trace.Value, hash uint64) {
	a.guess = &k.next
	at := &k.at[a.which]
	if at.round == a.round {
		a.list[at.index].Value, a.hashes[at.index].Value = v, hash
		return
	}
	at.round, at.index = a.round, len(a.list)
	a.clashes = a.clashes || k.shared == a.shared
	a.marks |= k.marks
	a.list = append(a.list, trace.Attribute{Key: k.name, Value: v})
	a.hashes = append(a.hashes, column.AttributeHash{Key: k.hash, Value: hash})
	a.keyOf = append(a.keyOf, k)
}

// put sets the key: the last value wins.
func (a *attributes) put(name string, v trace.Value) {
	a.putKey(a.key(name), v, column.ValueHash(v))
}

// putNew sets the key unless it is there.
func (a *attributes) putNew(name string, v trace.Value) {
	if k := a.key(name); a.find(k) < 0 {
		a.putKey(k, v, column.ValueHash(v))
	}
}

// get returns the value of a key.
func (a *attributes) get(k *key) (trace.Value, bool) {
	if i := a.find(k); i >= 0 {
		return a.list[i].Value, true
	}
	return trace.Value{}, false
}

// remove takes a key out and keeps the order of the others.
func (a *attributes) remove(k *key) {
	i := a.find(k)
	if i < 0 {
		return
	}
	a.list = append(a.list[:i], a.list[i+1:]...)
	a.hashes = append(a.hashes[:i], a.hashes[i+1:]...)
	a.keyOf = append(a.keyOf[:i], a.keyOf[i+1:]...)
	k.at[a.which].round = 0
	for ; i < len(a.keyOf); i++ {
		a.keyOf[i].at[a.which].index = i
	}
}

// inherited says of an attribute in the shared list where it comes from.
type inherited struct {
	key    *key
	prefix string // "scope." or "resource.", put before the key where a row has the key too; "" if it is there already
}
