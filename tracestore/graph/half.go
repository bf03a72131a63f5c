package graph

import (
	"redthread/tracestore/trace"
)

// Side says at which end of an edge a span stands.
type Side uint8

// The sides. A [Half] may stand at both: a request is caused by the router and
// causes jobs, all under one request id.
const (
	CauseSide Side = 1 << iota
	EffectSide
)

// Key is what a cause and its effects have in common, as a hash of normalised
// text: a message id, say. Zero is no key. Two texts out of 100 million share
// a hash with a chance of 1 in 4,000 ([KeyOf] has 64 bits).
type Key uint64

// Half is one end of an edge, as much of it as a single span tells. Either it
// is recorded, then it is the effect's and has the cause as Target; or ids have
// to find the other end, then it has a Key and meets the halves of the other
// side that have the same.
//
// It is what the edge index stores. Halves come in any order: neither end needs
// the other to be there.
type Half struct {
	Of            trace.Ref // the span that stands at this end
	Side          Side
	Rule          RuleID
	Unsampled     bool      // recorded: the sender knew that the cause would not be kept
	Target        trace.Ref // recorded: the cause; without a span id if only its trace was recorded
	Key           Key
	Dropped       int32 // effect: how many links of the span its sender dropped, 0 for nearly all; below 0: so many messages of its batch came without context
	StartUnixNano int64 // of the span Of; an index may keep it to the millisecond, rounded down
}

// recorded reports whether the half names its cause itself.
func (h *Half) recorded() bool { return !h.Target.TraceID.IsZero() }

// Recorded reports whether the half names its cause itself; else it has a key.
func (h *Half) Recorded() bool { return h.recorded() }

// RuleID numbers the rules. Edge indexes on disk hold it: a number keeps its
// meaning for ever.
type RuleID uint8

// The numbers of the rules that spans offer halves by.
const (
	_ RuleID = iota
	bySpanLink
	byLinkEvent
	byDatadogLinks
	byChildTrace
	byMessageID
	byJobID
	byQueueID
	byKafkaOffset
	byKafkaKey
	byRouter
	byRequestID
	byCorrelation
	byBareOffset
	byMessageNumber
	byReceipt
	ruleCount
)

// Name is the rule as edges name it.
func (r RuleID) Name() string {
	if r < ruleCount {
		return ruleTable[r].name
	}
	return ""
}

// Kind is the kind of the edges that the rule finds.
func (r RuleID) Kind() Kind {
	if r < ruleCount {
		return ruleTable[r].kind
	}
	return ""
}

// KeyOf hashes the parts of a key: FNV-1a with a zero byte after each part,
// then the last mix of MurmurHash3, since FNV alone spreads short ids badly.
func KeyOf(parts ...string) Key {
	h := keyStart
	for _, p := range parts {
		for i := 0; i < len(p); i++ {
			h = h.add(p[i])
		}
		h = h.add(0)
	}
	return h.key()
}

// keyHash is the hash of the bytes of a key so far.
type keyHash uint64

const keyStart = keyHash(0xcbf29ce484222325)

func (h keyHash) add(b byte) keyHash { return (h ^ keyHash(b)) * 0x100000001b3 }

func (h keyHash) key() Key {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return Key(max(h, 1))
}
