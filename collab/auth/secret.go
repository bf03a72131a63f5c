package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
)

// Prefixes tell secrets apart, for people and for scanners of leaked secrets.
const (
	tokenPrefix = "rtt_" // API token
	keyPrefix   = "rtk_" // ingest key
)

// newSecret returns 52 characters of 260 random bits behind a prefix.
func newSecret(prefix string) string {
	return prefix + strings.ToLower(rand.Text()+rand.Text())
}

// hashSecret is how a random secret is stored and looked up. It is long, so one
// round of SHA-256 is enough (passwords are not: see HashPassword).
func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// hint is what a list shows of a secret.
func hint(secret string) string { return secret[len(secret)-4:] }
