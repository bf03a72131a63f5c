//go:build !linux

package tracestore

// beNice does nothing where a thread has no weight of its own.
func beNice() {}
