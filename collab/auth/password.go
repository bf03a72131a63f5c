package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"redthread/collab"
)

// Cost of argon2id: the first set of the OWASP password storage sheet (19 MiB,
// two passes, one lane). Stored hashes carry their own numbers, so these may
// grow.
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	argonKeyBytes  = 32
	argonSaltBytes = 16
)

// Limits of what is hashed: a stored hash or a posted password cannot make the
// server work for long.
const (
	minPasswordRunes  = 10
	maxPasswordBytes  = 1024
	maxArgonMemoryKiB = 256 * 1024
	maxArgonPasses    = 16
)

// concurrentHashes bounds the memory that hashing takes (4 × 19 MiB). The
// others wait.
const concurrentHashes = 4

var hashSlots = make(chan struct{}, concurrentHashes)

func withHashSlot(ctx context.Context, fn func()) error {
	select {
	case hashSlots <- struct{}{}:
		defer func() { <-hashSlots }()
		fn()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CheckPassword returns an [collab.InvalidError] if the password is too easy to
// guess for the person of that address.
func CheckPassword(password, email string) error {
	invalid := func(msg string) error { return &collab.InvalidError{Field: "password", Message: msg} }
	local, _, _ := strings.Cut(email, "@")
	lower := strings.ToLower(password)
	switch {
	case utf8.RuneCountInString(password) < minPasswordRunes:
		return invalid(fmt.Sprintf("Use at least %d characters. A few words in a row are easy to remember.", minPasswordRunes))
	case len(password) > maxPasswordBytes:
		return invalid(fmt.Sprintf("Use at most %d bytes.", maxPasswordBytes))
	case lower == strings.ToLower(email) || len(local) > 3 && strings.Trim(strings.ReplaceAll(lower, local, ""), "0123456789!.-_ ") == "":
		return invalid("Choose a password that is not your address.")
	case fewRunes(lower) || isCommon(lower):
		return invalid("This password is among the first that are tried. Choose another.")
	}
	return nil
}

func fewRunes(s string) bool {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen) < 4
}

// commonParts are what the passwords at the top of leaked lists are made of.
var commonParts = []string{"password", "passwort", "qwertyuiop", "qwerty", "1234567890", "123456789", "12345678", "1234567", "123456",
	"12345", "1234", "123", "letmein", "welcome", "iloveyou", "admin", "abc123", "asdfghjkl", "redthread", "changeme", "secret"}

// isCommon reports whether nothing much is left of s without the common parts.
func isCommon(s string) bool {
	rest := s
	for _, part := range commonParts {
		rest = strings.ReplaceAll(rest, part, "")
	}
	rest = strings.Trim(rest, "0123456789!.-_ @")
	return rest != s && utf8.RuneCountInString(rest) < 3
}

// HashPassword returns the argon2id hash of a password in PHC form.
func HashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSaltBytes)
	rand.Read(salt) // never fails
	var key []byte
	err := withHashSlot(ctx, func() {
		key = argon2.IDKey([]byte(password), salt, argonPasses, argonMemoryKiB, argonLanes, argonKeyBytes)
	})
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKiB, argonPasses, argonLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// verifyPassword reports whether the password has this hash. An empty hash has
// no password, but takes as long.
func verifyPassword(ctx context.Context, hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = decoyHash
	}
	p, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	if len(password) > maxPasswordBytes {
		password, known = "", false
	}
	var same bool
	err = withHashSlot(ctx, func() {
		key := argon2.IDKey([]byte(password), p.salt, p.passes, p.memoryKiB, p.lanes, uint32(len(p.key)))
		same = subtle.ConstantTimeCompare(key, p.key) == 1
	})
	if err != nil {
		return false, fmt.Errorf("verify password: %w", err)
	}
	return known && same, nil
}

// decoyHash stands in for accounts that do not exist, so that an attempt takes
// the same time for them.
var decoyHash = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	argon2.Version, argonMemoryKiB, argonPasses, argonLanes)

type argonHash struct {
	memoryKiB, passes uint32
	lanes             uint8
	salt, key         []byte
}

var errHash = errors.New("auth: stored password hash is not argon2id in PHC form")

func parseHash(s string) (argonHash, error) {
	parts := strings.Split(s, "$")
	var h argonHash
	var version int
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errHash
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return h, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memoryKiB, &h.passes, &h.lanes); err != nil {
		return h, errHash
	}
	if h.memoryKiB == 0 || h.memoryKiB > maxArgonMemoryKiB || h.passes == 0 || h.passes > maxArgonPasses || h.lanes == 0 {
		return h, errHash
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.key) < 16 || len(h.key) > 64 {
		return h, errHash
	}
	return h, nil
}
