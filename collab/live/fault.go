//go:build !faults

package live

// beforeAnnounce stands between the commit of a change and its announcement. The
// build with the tag faults can die there.
func beforeAnnounce() {}
