package tracestore

import "syscall"

// compactNice is the weight of compaction: a third of a thread's at 0, where the
// processors do not suffice for both.
const compactNice = 5

// beNice makes the calling thread give way to others. Linux counts it for one
// thread. An error leaves it as important as the rest.
func beNice() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), compactNice) }
