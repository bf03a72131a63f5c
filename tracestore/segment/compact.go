package segment

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

const (
	// clusterWindow is how many rows after a trace's first row its later rows are
	// still put beside it. It bounds what is decoded at the same time: the row
	// groups of one column that lie within it.
	clusterWindow = 2 * column.MaxBlockRows
	// compactCacheBytes is what may be kept of the inputs' overflow, events and
	// links between two uses.
	compactCacheBytes = 8 << 20
	// maxGroupBytes bounds a row group of long rows, so that it stays a piece that
	// a query can hold: about this much on disk.
	maxGroupBytes = 16 << 20
	// maxGroupRaw bounds it before compression, also for this merge, which holds a
	// column of a row group twice, and clusterRaw is as clusterWindow: long texts
	// that are alike may shrink to a hundredth.
	maxGroupRaw = 32 << 20
	clusterRaw  = 32 << 20
	// maxMergedKeys bounds the keys, of each type, of several segments that become
	// one: who makes keys of what are values has new ones in every row. A merge
	// takes some 700 bytes for each.
	maxMergedKeys = 128 << 10
)

// KeysError says that segments have too many different keys to become one. The
// segment at Path has most of those that the others have not.
type KeysError struct{ Path string }

func (e *KeysError) Error() string {
	return fmt.Sprintf("segment: %s has too many keys to be merged with others: more than %d in all", e.Path, maxMergedKeys)
}

// CompactOptions say how segments become one.
type CompactOptions struct {
	// Keep, if set, says since when rows of an environment are kept: those that
	// arrived earlier are dropped.
	Keep func(environment string) (minArrivedUnixNano int64)
	// Pause, if set, is called between columns, and may wait.
	Pause func()
	Step  Step
}

// Compacted says what became of the inputs' rows.
type Compacted struct {
	Info                   // Rows is 0 and there is no file if none was left
	Duplicates, Expired    int
	MinArrived, MaxArrived int64
}

// Compact makes one segment at path of several, which stay as they are: equal
// rows once, in the order of arrival but for the rows of a trace, which lie
// together. It is durable like [Write]. A damaged input is a *[CorruptError], and
// inputs of too many keys are a *[KeysError]; no file is left. It reads the inputs apart from their cache, column by column.
func Compact(ctx context.Context, path string, inputs []*File, o CompactOptions) (Compacted, error) {
	m := &merger{ctx: ctx, pause: o.Pause, positions: make(map[attributeKey]int), rare: make(map[int]*rare)}
	var bytes int64
	cache := NewCache(compactCacheBytes)
	for _, f := range inputs {
		apart := Open(f.path, f.rows, cache)
		defer apart.Close()
		if err := m.open(apart); err != nil {
			return Compacted{}, err
		}
		if info, err := apart.fd.Stat(); err == nil {
			bytes += info.Size()
		}
	}
	var out Compacted
	var err error
	out.Duplicates = m.dropDuplicates()
	if out.Expired, err = m.dropExpired(o.Keep); err != nil {
		return Compacted{}, err
	}
	out.MinArrived, out.MaxArrived = m.minArrived, m.maxArrived
	rows := len(m.to) - out.Duplicates - out.Expired
	if rows == 0 {
		return out, nil
	}
	m.order(rows, min(column.MaxBlockRows, max(1, int(int64(len(m.to))*maxGroupBytes/max(bytes, 1)))))
	m.traces = nil
	if rows >= printRows {
		m.prints = nil
	}
	if err := m.readShapes(len(inputs) > 1); err != nil {
		return Compacted{}, err
	}
	groups, err := m.newGroups()
	if err != nil {
		return Compacted{}, err
	}
	sources := make([]column.Source, len(groups))
	for i, g := range groups {
		sources[i] = g
	}
	out.Info, err = Write(path, sources, m.keptPrints(), o.Step)
	return out, err
}

// merger puts the rows of several segments in a new order. Rows are counted over
// all inputs.
type merger struct {
	ctx   context.Context
	pause func()

	blocks []*block
	base   []int    // the first row of each block
	raw    []int64  // bytes of a row before compression, on average, by block
	traces []uint32 // by row: hash of the trace
	prints []uint64 // by row: fingerprint; nil: not known of all

	// to is where each row goes, or dropped.
	to     []uint32
	groups []outGroup

	minArrived, maxArrived int64

	attributes []attributeKey
	positions  map[attributeKey]int // in attributes
	shapes     []uint32             // by new row
	shapeDict  column.DictBuilder   // of positions in attributes
	shapeParts [][]int              // the same, read

	// sources says for each block where it has each attribute: 0 nowhere, i+1 in
	// the layout's column i, -k-1 under key k of its overflow.
	sources [][]int32

	// The column that is being put together, and what of it is decoded, by block.
	current string
	loaded  map[int]*packed
	rare    map[int]*rare // by block

	scratch
}

const dropped = math.MaxUint32

// outGroup is a row group of the new segment.
type outGroup struct {
	from, rows int
	blocks     []int // that have rows of it
	counts     []int // by attribute: rows with a value
}

// open adds the row groups of an input.
func (m *merger) open(f *File) error {
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	var prints []uint64
	err = f.withGroups(len(blocks), func(x *index) error {
		hashes, err := x.traceHashes()
		if err != nil {
			return err
		}
		if prints, err = x.fingerprints(); err != nil {
			return err
		}
		m.traces = append(m.traces, hashes...)
		return nil
	})
	if err != nil {
		return err
	}
	if prints != nil && (m.prints != nil || len(m.to) == 0) {
		m.prints = append(m.prints, prints...)
	} else {
		m.prints = nil
	}
	at := len(m.to)
	for _, b := range blocks {
		m.blocks = append(m.blocks, b.(*block))
		m.base = append(m.base, at)
		raw := b.(*block).r.file.RawBytes(b.(*block).group)
		m.raw = append(m.raw, raw/int64(max(1, b.Rows())))
		at += b.Rows()
	}
	m.to = append(m.to, make([]uint32, f.rows)...)
	return nil
}

// dropDuplicates drops rows that equal an earlier one, and returns their number.
func (m *merger) dropDuplicates() (n int) {
	if m.prints == nil {
		return 0
	}
	size := 1024
	for size < 2*len(m.prints) {
		size *= 2
	}
	table := make([]uint32, size) // row plus one, by fingerprint
	mask := uint64(size - 1)
	for row, p := range m.prints {
		for i := column.Mix(p, 0) & mask; ; i = (i + 1) & mask {
			if table[i] == 0 {
				table[i] = uint32(row + 1)
				break
			}
			if m.prints[table[i]-1] == p {
				m.to[row] = dropped
				n++
				break
			}
		}
	}
	return n
}

// dropExpired drops rows that arrived too long ago for their environment, and
// finds when the others arrived.
func (m *merger) dropExpired(keep func(string) int64) (n int, err error) {
	first := true
	for i, b := range m.blocks {
		if err := m.ctx.Err(); err != nil {
			return 0, err
		}
		arrived, err := b.vector(column.Arrived, trace.TypeInt, 0)
		if err != nil {
			return 0, err
		}
		var limits []int64 // by environment
		var environments *column.Vector
		if keep != nil {
			if environments, err = b.vector(column.Environment, trace.TypeString, 0); err != nil {
				return 0, err
			}
			limits = make([]int64, environments.Dict.Len())
			for id := range limits {
				limits[id] = keep(environments.Dict.At(uint32(id)))
			}
		}
		to := m.to[m.base[i] : m.base[i]+b.Rows()]
		for row := range to {
			at := arrived.Ints[row]
			switch {
			case to[row] == dropped:
			case keep != nil && at < limits[environments.IDs[row]]:
				to[row] = dropped
				n++
			case first:
				m.minArrived, m.maxArrived, first = at, at, false
			default:
				m.minArrived, m.maxArrived = min(m.minArrived, at), max(m.maxArrived, at)
			}
		}
	}
	return n, nil
}

// cluster is rows that go beside each other.
type cluster struct {
	first, rows, hash uint32
	at, raw           uint32 // KiB of rows before it, and bytes of its own
}

// order says where each row goes. Rows stand in the order of arrival, those of a
// trace beside its first one if they come within clusterWindow of it.
func (m *merger) order(rows, groupRows int) {
	var clusters []cluster
	size := 1024
	for size < rows/2 {
		size *= 2
	}
	table := make([]uint32, size) // cluster plus one, by hash: the newest of a trace
	used := 0
	find := func(hash uint32) *uint32 {
		mask := uint32(len(table) - 1)
		i := hash & mask
		for table[i] != 0 && clusters[table[i]-1].hash != hash {
			i = (i + 1) & mask
		}
		return &table[i]
	}
	add := func(row int, at, raw int64) {
		if used*4 >= len(table)*3 {
			old := table
			table = make([]uint32, 2*len(old))
			for _, c := range old {
				if c != 0 {
					*find(clusters[c-1].hash) = c
				}
			}
		}
		hash := m.traces[row]
		slot := find(hash)
		if *slot == 0 {
			used++
		}
		if *slot == 0 || row-int(clusters[*slot-1].first) > clusterWindow || at>>10-int64(clusters[*slot-1].at) > clusterRaw>>10 {
			clusters = append(clusters, cluster{first: uint32(row), hash: hash, at: uint32(at >> 10)})
			*slot = uint32(len(clusters))
		}
		c := &clusters[*slot-1]
		c.rows++
		c.raw += uint32(raw)  // no more than clusterRaw and a row
		m.to[row] = *slot - 1 // until the places are known
	}
	at := int64(0)
	for i, b := range m.blocks {
		for row := m.base[i]; row < m.base[i]+b.Rows(); row++ {
			if m.to[row] != dropped {
				add(row, at, m.raw[i])
			}
			at += m.raw[i]
		}
	}
	m.cut(clusters, groupRows)
}

// cut divides the clusters into row groups and finishes what order has begun. A row
// group ends before the trace that would not fit, unless it is larger than a row
// group.
func (m *merger) cut(clusters []cluster, groupRows int) {
	next := make([]uint32, len(clusters)) // where the next row of a cluster goes
	at, from, raw := 0, 0, int64(0)
	end := func(to int) {
		m.groups = append(m.groups, outGroup{from: from, rows: to - from})
		from = to
	}
	for i, c := range clusters {
		if at > from && (at+int(c.rows)-from > groupRows || raw+int64(c.raw) > maxGroupRaw) {
			end(at)
			raw = 0
		}
		next[i] = uint32(at)
		at += int(c.rows)
		raw += int64(c.raw)
		for have := at - from; have > groupRows || raw > maxGroupRaw && have > 1; have = at - from {
			n := min(groupRows, max(1, int(int64(have)*maxGroupRaw/max(1, raw))))
			raw -= raw * int64(n) / int64(have)
			end(from + n)
		}
	}
	if at > from {
		end(at)
	}
	for row, c := range m.to {
		if c != dropped {
			m.to[row] = next[c]
			next[c]++
		}
	}
	// Which blocks a group needs.
	for i, b := range m.blocks {
		last := -1
		for _, at := range m.to[m.base[i] : m.base[i]+b.Rows()] {
			if at == dropped || last >= 0 && int(at) >= m.groups[last].from && int(at) < m.groups[last].from+m.groups[last].rows {
				continue
			}
			last, _ = slices.BinarySearchFunc(m.groups, int(at), func(g outGroup, at int) int {
				switch {
				case g.from+g.rows <= at:
					return -1
				case g.from > at:
					return 1
				}
				return 0
			})
			if g := &m.groups[last]; len(g.blocks) == 0 || g.blocks[len(g.blocks)-1] != i {
				g.blocks = append(g.blocks, i)
			}
		}
	}
}

// keptPrints returns the fingerprints in the new order, nil if they are not known.
func (m *merger) keptPrints() []uint64 {
	if m.prints == nil {
		return nil
	}
	out := make([]uint64, len(m.shapes))
	for row, at := range m.to {
		if at != dropped {
			out[at] = m.prints[row]
		}
	}
	return out
}

// position returns the place of an attribute in the new list.
func (m *merger) position(k attributeKey) int {
	p, ok := m.positions[k]
	if !ok {
		p = len(m.attributes)
		m.positions[k] = p
		m.attributes = append(m.attributes, k)
	}
	return p
}

// readShapes translates the shapes of all rows, and counts the values of each
// attribute in each new row group. Where there may not be any number of attributes,
// too many are a *[KeysError].
func (m *merger) readShapes(bounded bool) error {
	last := m.groups[len(m.groups)-1]
	m.shapes = make([]uint32, last.from+last.rows)
	places := make([][2][]int, len(m.blocks))
	added := make(map[string]int) // attributes, by file
	for i, b := range m.blocks {
		if err := m.breathe(); err != nil {
			return err
		}
		before := len(m.attributes)
		var err error
		if places[i], err = m.readBlockShapes(b, m.to[m.base[i]:m.base[i]+b.Rows()]); err != nil {
			return b.f.corrupt(err)
		}
		added[b.f.path] += len(m.attributes) - before
		if bounded && len(m.attributes) > maxMergedKeys {
			most := b.f.path
			for path, n := range added {
				if n > added[most] {
					most = path
				}
			}
			return &KeysError{most}
		}
	}
	m.sources = make([][]int32, len(m.blocks))
	for i, p := range places {
		m.sources[i] = make([]int32, len(m.attributes))
		for j, at := range p[0] {
			if at > 0 {
				m.sources[i][at-1] = int32(j + 1)
			}
		}
		for k, at := range p[1] {
			if at > 0 {
				m.sources[i][at-1] = -int32(k + 1)
			}
		}
	}
	for g := range m.groups {
		group := &m.groups[g]
		group.counts = make([]int, len(m.attributes))
		rows := make([]int, len(m.shapeParts))
		for _, shape := range m.shapes[group.from : group.from+group.rows] {
			rows[shape]++
		}
		for shape, n := range rows {
			if n > 0 {
				for _, p := range m.shapeParts[shape] {
					group.counts[p] += n
				}
			}
		}
	}
	return nil
}

// readBlockShapes translates the shapes of one block. It returns the positions,
// plus one, of the attributes in the layout's columns and in the overflow.
func (m *merger) readBlockShapes(b *block, to []uint32) (places [2][]int, err error) {
	shapes, err := b.r.shapes(b.group)
	if err != nil {
		return places, err
	}
	over, err := b.rare()
	if err != nil {
		return places, err
	}
	columns := b.r.layout.Columns
	promoted := make([]int, len(columns)) // positions, plus one
	rare := make([]int, len(over.keyOf))  // likewise
	const isRare = -1
	local := make([][]int, shapes.Dict.Len()) // positions of a shape; isRare: the next of the overflow
	known := make([]uint32, shapes.Dict.Len())
	for id := range local {
		parts, err := shapePositions(nil, shapes.Dict.At(uint32(id)))
		if err != nil {
			return places, err
		}
		known[id] = dropped
		for j, p := range parts {
			switch {
			case p > len(columns):
				return places, fmt.Errorf("shape names column %d of %d", p, len(columns))
			case p == 0:
				parts[j] = isRare
			default:
				if promoted[p-1] == 0 {
					promoted[p-1] = 1 + m.position(attributeKey{columns[p-1].Key, columns[p-1].Type})
				}
				parts[j] = promoted[p-1] - 1
			}
		}
		local[id] = parts
	}
	entry := 0
	var text []byte
	for row, at := range to {
		id := shapes.IDs[row]
		for entry < len(over.row) && over.row[entry] < uint32(row) {
			entry++
		}
		if at == dropped {
			continue
		}
		if known[id] != dropped {
			m.shapes[at] = known[id]
			continue
		}
		text = text[:0]
		plain := true
		e := entry
		for _, p := range local[id] {
			if p == isRare {
				plain = false
				if e == len(over.row) || over.row[e] != uint32(row) {
					return places, fmt.Errorf("row %d has too few overflow entries", row)
				}
				k := over.key[e]
				if rare[k] == 0 {
					rare[k] = 1 + m.position(over.keyOf[k])
				}
				p = rare[k] - 1
				e++
			}
			text = binary.AppendUvarint(text, uint64(p))
		}
		shape, err := m.shapeDict.ID(string(text))
		if err != nil {
			return places, err
		}
		if int(shape) == len(m.shapeParts) {
			parts, err := shapePositions(nil, string(text))
			if err != nil {
				return places, err
			}
			m.shapeParts = append(m.shapeParts, parts)
		}
		m.shapes[at] = shape
		if plain {
			known[id] = shape
		}
	}
	return [2][]int{promoted, rare}, nil
}

// breathe is called between pieces of work.
func (m *merger) breathe() error {
	if m.pause != nil {
		m.pause()
	}
	return m.ctx.Err()
}
