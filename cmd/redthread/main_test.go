package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestCommands calls the program wrongly and looks at what it says.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"help"}, 0, "usage: redthread"},
		{[]string{"version"}, 0, "redthread "},
		{[]string{"dance"}, 2, `no command "dance"`},
		{[]string{"token"}, 2, "create, list, revoke"},
		{[]string{"token", "--help"}, 0, "create|list|revoke"},
		{[]string{"key", "revoke", "--data", dir}, 2, "one argument, got 0"},
		{[]string{"key", "revoke", "k_1", "--data", dir}, 1, `no key "k_1"`},
		{[]string{"key", "create", "--data", dir}, 1, "nvironment"},
		{[]string{"user", "create", "--data", dir}, 1, "email"},
		{[]string{"user", "reset", "nobody@example.com", "--data", dir}, 1, `no user "nobody@example.com"`},
		{[]string{"token", "create", "--data", dir, "--name", "x", "--role", "king"}, 1, "role"},
		{[]string{"origin"}, 2, "one argument"},
		{[]string{"origin", "nonsense", "--token", "t"}, 2, "trace id"},
		{[]string{"thread", "nonsense", "--token", "t"}, 2, "trace id"},
		{[]string{"demo", "--rate", "-1"}, 2, "--rate"},
		{[]string{"serve", "--memory", "lots"}, 1, "--memory"},
	} {
		var out bytes.Buffer
		e := env{strings.NewReader(""), &out, &out, func(string) string { return "" }}
		if got := dispatch(t.Context(), e, tc.args); got != tc.code || !strings.Contains(out.String(), tc.say) {
			t.Errorf("redthread %s: code %d, said %q; want code %d and %q", strings.Join(tc.args, " "), got, out.String(), tc.code, tc.say)
		}
	}
}

// TestTokenIsAlone holds that create prints the secret and a newline only.
func TestTokenIsAlone(t *testing.T) {
	out := run(t, "token", "create", "--data", t.TempDir(), "--name", "x", "--role", "viewer")
	if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") || strings.ContainsAny(strings.TrimSpace(out), " \t") {
		t.Errorf("token create printed %q", out)
	}
}
