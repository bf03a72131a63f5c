package segment

import (
	"errors"
	"testing"
)

// TestCache wants what is in use to stay while a scan passes, and the limit to
// hold.
func TestCache(t *testing.T) {
	c := NewCache(1000)
	loads := 0
	ask := func(file uint64, group int, bytes int64) {
		t.Helper()
		got, err := c.get(cacheKey{file: file, group: group, part: partColumn, name: "c"}, func() (any, int64, error) {
			loads++
			return group, bytes, nil
		})
		if err != nil || got != group {
			t.Fatalf("got %v, %v", got, err)
		}
		var sum int64
		for _, e := range c.byKey {
			sum += e.Value.(*cacheEntry).bytes
		}
		if sum != c.bytes || sum > c.limit || c.once.Len()+c.kept.Len() != len(c.byKey) {
			t.Fatalf("%d bytes in %d and %d entries of %d, counted %d of %d", sum, c.once.Len(), c.kept.Len(), len(c.byKey), c.bytes, c.limit)
		}
	}
	for range 2 {
		for group := range 5 {
			ask(1, group, 100)
		}
	}
	for group := range 100 {
		ask(2, group, 90)
	}
	loads = 0
	for group := range 5 {
		ask(1, group, 100)
	}
	if loads != 0 {
		t.Errorf("a scan pushed out %d of 5 columns in use", loads)
	}
	for range 3 { // everything in use: the oldest goes
		for group := range 30 {
			ask(3, group, 100)
			ask(3, group, 100)
		}
	}
	ask(4, 0, 2000) // more than the limit is not kept
	if _, ok := c.peek(cacheKey{file: 4, part: partColumn, name: "c"}); ok {
		t.Error("an entry beyond the limit is kept")
	}
	if _, err := c.get(cacheKey{file: 5, part: partColumn, name: "c"}, func() (any, int64, error) { return nil, 0, errors.New("damaged") }); err == nil {
		t.Error("an error is lost")
	}
	for file := range uint64(6) {
		c.forget(file)
	}
	if c.bytes != 0 || c.keptBytes != 0 || len(c.byKey) != 0 {
		t.Errorf("%d bytes, %d kept in %d entries after all files closed", c.bytes, c.keptBytes, len(c.byKey))
	}
}
