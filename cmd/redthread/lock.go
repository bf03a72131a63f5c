package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// errInUse says that another server has the data folder.
var errInUse = errors.New("the folder is in use by another redthread server; stop it, or give this one a --data of its own")

// lockName is the file in the data folder that a server locks, and where it says
// how to reach it.
const lockName = "server.lock"

// lockFolder takes the data folder for this process until the file is closed or
// the process ends. It is taken before the embedded NATS server opens its
// streams, which two servers would spoil.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

// announce writes the address of the server into the lock file that it holds, for
// commands on the same folder.
func announce(lock *os.File, url string) error {
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if _, err := lock.WriteAt([]byte(url+"\n"), 0); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// announced returns the address of the server that runs on the folder, or ran
// there last; empty if there was none.
func announced(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, lockName))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
