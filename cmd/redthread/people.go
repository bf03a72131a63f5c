package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"redthread/collab"
	"redthread/collab/auth"
)

// verb is one action of token, key and user. flags defines its own flags and
// returns what runs after parsing, with the arguments that are no flags.
type verb struct {
	name string
	args int // how many arguments it wants
	// bind defines the verb's flags and returns its action.
	bind func(fs *flag.FlagSet) func(ctx context.Context, p people, args []string) error
}

// people is what the verbs act on: the database, opened directly, so that they
// work with and without a running server.
type people struct {
	env
	store *collab.Store
	auth  *auth.Service
	json  bool
	url   string // base of printed links
}

func runVerbs(ctx context.Context, e env, command string, args []string, verbs []verb) error {
	var names []string
	for _, v := range verbs {
		names = append(names, v.name)
	}
	if len(args) > 0 && slices.Contains([]string{"-h", "--help", "-help", "help"}, args[0]) {
		fmt.Fprintf(e.stdout, "usage: redthread %s %s [flags]\n\nredthread %s VERB --help shows the flags of a verb.\n", command, strings.Join(names, "|"), command)
		return nil
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return usageError{"want one of " + strings.Join(names, ", ")}
	}
	for _, v := range verbs {
		if v.name != args[0] {
			continue
		}
		fs := flag.NewFlagSet(command+" "+v.name, flag.ContinueOnError)
		fs.SetOutput(e.stderr)
		data := fs.String("data", or(e.getenv("REDTHREAD_DATA"), "./redthread-data"), "data folder of the server")
		asJSON := fs.Bool("json", false, "print lists as JSON")
		url := fs.String("public-url", or(e.getenv("REDTHREAD_PUBLIC_URL"), "http://127.0.0.1:8080"), "address of the server in printed links")
		do := v.bind(fs)
		rest, err := parseMixed(fs, args[1:])
		if err != nil {
			return err
		}
		if len(rest) != v.args {
			return usageError{fmt.Sprintf("%s wants %s, got %d", v.name, []string{"no argument", "one argument"}[v.args], len(rest))}
		}
		store, err := collab.Open(ctx, collab.Options{Path: databasePath(*data)})
		if err != nil {
			return err
		}
		defer store.Close()
		err = do(ctx, people{e, store, auth.New(store, auth.Options{}), *asJSON, strings.TrimSuffix(*url, "/")}, rest)
		if errors.Is(err, collab.ErrNotFound) && len(rest) > 0 {
			return fmt.Errorf("there is no %s %q; redthread %s list shows them", command, rest[0], command)
		}
		return err
	}
	return usageError{fmt.Sprintf("there is no %q; want one of %s", args[0], strings.Join(names, ", "))}
}

// secret prints a secret and a newline, nothing else, so that $(…) takes it.
func (p people) secret(s string) error {
	_, err := fmt.Fprintln(p.stdout, s)
	return err
}

// table prints rows with a heading, or as JSON.
func (p people) table(heading []string, rows [][]string) error {
	if p.json {
		list := make([]map[string]string, 0, len(rows))
		for _, r := range rows {
			m := map[string]string{}
			for i, h := range heading {
				m[strings.ToLower(h)] = r[i]
			}
			list = append(list, m)
		}
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, r := range append([][]string{heading}, rows...) {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func runToken(ctx context.Context, e env, args []string) error {
	return runVerbs(ctx, e, "token", args, []verb{
		{"create", 0, func(fs *flag.FlagSet) func(context.Context, people, []string) error {
			name := fs.String("name", "", "what the token is for")
			role := fs.String("role", string(collab.RoleMember), "viewer, member or admin")
			expires := fs.String("expires", "", "age at which it ends, as 90d; empty: never")
			return func(ctx context.Context, p people, _ []string) error {
				var lifetime time.Duration
				if *expires != "" {
					var err error
					if lifetime, err = parseAge(*expires); err != nil {
						return usageError{"--expires: " + err.Error()}
					}
				}
				secret, _, err := p.auth.CreateToken(ctx, *name, collab.Role(*role), lifetime)
				if err != nil {
					return err
				}
				return p.secret(secret)
			}
		}},
		{"list", 0, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, _ []string) error {
				tokens, err := p.store.FindTokens(ctx)
				if err != nil {
					return err
				}
				var rows [][]string
				for _, t := range tokens {
					rows = append(rows, []string{t.ID, t.Name, string(t.Role), "…" + t.Hint, moment(t.CreatedAt), moment(t.LastUsedAt), moment(t.ExpiresAt), moment(t.RevokedAt)})
				}
				return p.table([]string{"ID", "NAME", "ROLE", "SECRET", "CREATED", "LAST_USED", "EXPIRES", "REVOKED"}, rows)
			}
		}},
		{"revoke", 1, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, args []string) error { return p.store.RevokeToken(ctx, args[0]) }
		}},
	})
}

func runKey(ctx context.Context, e env, args []string) error {
	return runVerbs(ctx, e, "key", args, []verb{
		{"create", 0, func(fs *flag.FlagSet) func(context.Context, people, []string) error {
			environment := fs.String("environment", "", "where its spans belong, as production-uk; '*': as each resource says")
			name := fs.String("name", "", "what the key is for; empty: the environment")
			lists := attributeFlags(fs)
			return func(ctx context.Context, p people, _ []string) error {
				secret, _, err := p.auth.CreateIngestKey(ctx, or(*name, *environment), *environment, *lists)
				if err != nil {
					return err
				}
				return p.secret(secret)
			}
		}},
		{"list", 0, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, _ []string) error {
				keys, err := p.store.FindIngestKeys(ctx)
				if err != nil {
					return err
				}
				var rows [][]string
				for _, k := range keys {
					rows = append(rows, []string{k.ID, k.Name, k.Environment, "…" + k.Hint, moment(k.CreatedAt), moment(k.LastUsedAt), names(k.Lists.DropNames()), names(k.Lists.HashNames())})
				}
				without, err := p.store.KeylessLists(ctx)
				if err != nil {
					return err
				}
				if without != (collab.AttributeLists{}) {
					rows = append(rows, []string{withoutKey, "what comes without a key", collab.AnyEnvironment, "-", "-", "-", names(without.DropNames()), names(without.HashNames())})
				}
				return p.table([]string{"ID", "NAME", "ENVIRONMENT", "SECRET", "CREATED", "LAST_USED", "DROP", "HASH"}, rows)
			}
		}},
		{"revoke", 1, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, args []string) error {
				return p.store.RevokeIngestKey(ctx, args[0])
			}
		}},
		{"attributes", 1, func(fs *flag.FlagSet) func(context.Context, people, []string) error {
			lists := attributeFlags(fs)
			return func(ctx context.Context, p people, args []string) error {
				id := args[0]
				if id == withoutKey {
					id = ""
				}
				return p.auth.UpdateKeyLists(ctx, id, *lists)
			}
		}},
	})
}

// withoutKey stands where a key's id does for what comes without one.
const withoutKey = "none"

// attributeFlags are the flags of what becomes of attributes.
func attributeFlags(fs *flag.FlagSet) *collab.AttributeLists {
	var l collab.AttributeLists
	fs.StringVar(&l.Drop, "drop", "", "attributes that are not stored, by commas: exact names, or 'user.*'")
	fs.StringVar(&l.Hash, "hash", "", "attributes of whose values only a hash is stored")
	return &l
}

// names are those of a list as a table shows them.
func names(list []string) string { return or(strings.Join(list, ","), "-") }

func runUser(ctx context.Context, e env, args []string) error {
	byEmail := func(ctx context.Context, p people, email string) (collab.User, error) {
		u, _, err := p.store.UserByEmail(ctx, email)
		return u, err
	}
	return runVerbs(ctx, e, "user", args, []verb{
		{"create", 0, func(fs *flag.FlagSet) func(context.Context, people, []string) error {
			email := fs.String("email", "", "address to sign in with")
			name := fs.String("name", "", "name that others see")
			role := fs.String("role", string(collab.RoleMember), "viewer, member or admin")
			stdin := fs.Bool("password-stdin", false, "read the password from stdin instead of asking")
			return func(ctx context.Context, p people, _ []string) error {
				if _, err := collab.CleanEmail(*email); err != nil {
					return err
				}
				if _, err := collab.CleanName(*name); err != nil {
					return err
				}
				password, err := p.password(*stdin)
				if err != nil {
					return err
				}
				u, err := p.auth.CreateUser(ctx, *email, *name, collab.Role(*role), password)
				if err != nil {
					return err
				}
				return p.secret(u.ID)
			}
		}},
		{"list", 0, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, _ []string) error {
				users, err := p.store.FindUsers(ctx)
				if err != nil {
					return err
				}
				var rows [][]string
				for _, u := range users {
					rows = append(rows, []string{u.ID, u.Email, u.Name, string(u.Role), moment(u.DeactivatedAt)})
				}
				return p.table([]string{"ID", "EMAIL", "NAME", "ROLE", "DEACTIVATED"}, rows)
			}
		}},
		{"reset", 1, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, args []string) error {
				u, err := byEmail(ctx, p, args[0])
				if err != nil {
					return err
				}
				code, err := p.auth.CreatePasswordLink(ctx, u.ID)
				if err != nil {
					return err
				}
				return p.secret(p.url + "/invite/" + code)
			}
		}},
		{"deactivate", 1, func(*flag.FlagSet) func(context.Context, people, []string) error {
			return func(ctx context.Context, p people, args []string) error {
				u, err := byEmail(ctx, p, args[0])
				if err != nil {
					return err
				}
				off := false
				_, err = p.store.UpdateUser(ctx, u.ID, collab.UserUpdate{Active: &off})
				return err
			}
		}},
	})
}

// password reads a new password: one line of stdin, or asked for on the terminal.
func (p people) password(fromStdin bool) (string, error) {
	if f, ok := p.stdin.(*os.File); !fromStdin && ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(p.stderr, "Password: ")
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		return string(b), err
	}
	if !fromStdin {
		return "", usageError{"no terminal to ask for the password: use --password-stdin"}
	}
	line, err := bufio.NewReader(p.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// shortToken makes a token for the length of one command.
func shortToken(ctx context.Context, data string, role collab.Role) (string, error) {
	const lifetime = 5 * time.Minute
	path := databasePath(data)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	store, err := collab.Open(ctx, collab.Options{Path: path})
	if err != nil {
		return "", err
	}
	defer store.Close()
	secret, _, err := auth.New(store, auth.Options{}).CreateToken(ctx, "command line", role, lifetime)
	return secret, err
}
