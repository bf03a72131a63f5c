//go:build unix

package segment

import (
	"fmt"
	"os"
	"syscall"
)

func mapBytes(f *os.File, size int) (mapping, error) {
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return b, nil
}

func (m mapping) close() {
	// Fails only for an address that was never mapped.
	_ = syscall.Munmap(m)
}
