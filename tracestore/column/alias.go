package column

import "unsafe"

// aliasString views bytes as a string without a copy. The bytes must not change
// while the string lives; a dictionary's arena only grows.
func aliasString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
