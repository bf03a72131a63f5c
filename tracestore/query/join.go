package query

// join numbers the pairs of a group so far and a further value. Numbers are
// dense from 0 in order of first appearance. While both sides are few the
// numbers lie in a table by pair; after that in a hash table.
type join struct {
	pairs []uint64 // by number: group<<32 | value

	table []uint32 // 1 + number by group<<bits | value, 0: none yet
	bits  uint
	slots []uint32 // 1 + number by hash of the pair, 0: free; len is a power of two
}

const (
	maxJoinTable  = 256 << 10 // entries: 1 MiB, what stays in a processor's cache
	leastJoinBits = 4
)

func (j *join) bytes() int64 { return int64(8*cap(j.pairs) + 4*len(j.table) + 4*len(j.slots)) }

// join returns the number of a pair; a frozen join answers none for a new one.
func (j *join) join(group, value uint32, frozen bool) uint32 {
	if j.slots == nil {
		at := uint64(group)<<j.bits | uint64(value)
		if at < uint64(len(j.table)) && value>>j.bits == 0 && j.table[at] != 0 {
			return j.table[at] - 1
		}
	}
	return j.slow(group, value, frozen)
}

func (j *join) slow(group, value uint32, frozen bool) uint32 {
	if group == none || value == none {
		return none
	}
	if j.slots == nil && !frozen {
		j.reach(group, value)
	}
	pair := uint64(group)<<32 | uint64(value)
	if j.slots == nil {
		at := uint64(group)<<j.bits | uint64(value)
		if frozen {
			return none
		}
		j.pairs = append(j.pairs, pair)
		j.table[at] = uint32(len(j.pairs))
		return uint32(len(j.pairs) - 1)
	}
	mask := uint64(len(j.slots) - 1)
	at := mix(pair) & mask
	for ; j.slots[at] != 0; at = (at + 1) & mask {
		if n := j.slots[at] - 1; j.pairs[n] == pair {
			return n
		}
	}
	if frozen {
		return none
	}
	j.pairs = append(j.pairs, pair)
	j.slots[at] = uint32(len(j.pairs))
	if 4*len(j.pairs) > 3*len(j.slots) {
		j.hash(2 * len(j.slots))
	}
	return uint32(len(j.pairs) - 1)
}

// reach makes the table large enough for a pair, or gives it up for a hash
// table.
func (j *join) reach(group, value uint32) {
	width := max(j.bits, leastJoinBits)
	for value>>width != 0 {
		width++
	}
	n := max(len(j.table)>>j.bits, 16)
	for uint32(n) <= group {
		n *= 2
	}
	if width == j.bits && n<<width <= len(j.table) {
		return
	}
	if n<<width > maxJoinTable {
		size := 64
		for 2*len(j.pairs) >= size {
			size *= 2
		}
		j.hash(size)
		return
	}
	j.bits, j.table = width, make([]uint32, n<<width)
	for n, pair := range j.pairs {
		j.table[pair>>32<<width|pair&(1<<32-1)] = uint32(n + 1)
	}
}

func (j *join) hash(size int) {
	j.table, j.slots = nil, make([]uint32, size)
	mask := uint64(size - 1)
	for n, pair := range j.pairs {
		at := mix(pair) & mask
		for j.slots[at] != 0 {
			at = (at + 1) & mask
		}
		j.slots[at] = uint32(n + 1)
	}
}
