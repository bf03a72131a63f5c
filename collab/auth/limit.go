package auth

import (
	"fmt"
	"sync"
	"time"
)

// Limits of failed sign-ins within limitWindow. An address may be that of a
// whole office, so it gets more.
const (
	limitWindow       = 15 * time.Minute
	maxAccountTries   = 10
	maxAddressTries   = 60
	maxLimitedEntries = 20_000 // beyond it the oldest are forgotten
)

// LimitedError says that there were too many attempts.
type LimitedError struct{ RetryAfter time.Duration }

func (e *LimitedError) Error() string {
	minutes := int((e.RetryAfter + time.Minute - 1) / time.Minute)
	if minutes <= 1 {
		return "Too many attempts. Wait a minute and try again."
	}
	return fmt.Sprintf("Too many attempts. Wait %d minutes and try again.", minutes)
}

// limiter counts attempts in fixed windows that begin with the first one. It
// may be used from several goroutines.
type limiter struct {
	mu      sync.Mutex
	entries map[string]attempts
}

type attempts struct {
	since time.Time
	count int
}

func newLimiter() *limiter { return &limiter{entries: map[string]attempts{}} }

// take counts an attempt against the key, or returns how long it has to wait.
// Counting before the password is checked stops many guesses sent at once.
func (l *limiter) take(key string, most int, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[key]
	if !ok || now.Sub(e.since) >= limitWindow {
		e = attempts{since: now}
		l.makeRoom(now)
	}
	if e.count >= most {
		return limitWindow - now.Sub(e.since)
	}
	e.count++
	l.entries[key] = e
	return 0
}

// forget takes the attempts against the key back, after a success.
func (l *limiter) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, key)
}

// giveBack takes one attempt back.
func (l *limiter) giveBack(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[key]; ok && e.count > 0 {
		e.count--
		l.entries[key] = e
	}
}

// makeRoom drops what is over, and if that is not enough, anything: memory
// stays bounded whatever is sent. The caller holds the mutex.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.entries) < maxLimitedEntries {
		return
	}
	for k, e := range l.entries {
		if now.Sub(e.since) >= limitWindow {
			delete(l.entries, k)
		}
	}
	for k := range l.entries {
		if len(l.entries) < maxLimitedEntries*9/10 {
			return
		}
		delete(l.entries, k)
	}
}
