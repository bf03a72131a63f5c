package collab

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AttributeLists say what becomes of attributes before anything is stored: those
// named by Drop are taken out, the values of those named by Hash are replaced by
// hashes. Each holds names, one a line: exact, or "prefix.*" for all that begin with
// "prefix.". The zero value changes nothing.
type AttributeLists struct {
	Drop string `json:"drop"`
	Hash string `json:"hash"`
}

// Bounds of a list: as many names as a person still reads, and the longest name
// that is of use.
const (
	maxListNames     = 200
	maxListNameBytes = 256
)

// DropNames and HashNames are the names of each list.
func (l AttributeLists) DropNames() []string { return listNames(l.Drop) }

// HashNames are the names whose values are replaced.
func (l AttributeLists) HashNames() []string { return listNames(l.Hash) }

func listNames(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// words say what the lists hold, for the audit log.
func (l AttributeLists) words() string {
	say := func(verb string, names []string) string {
		if len(names) == 0 {
			return verb + " nothing"
		}
		return clipRunes(verb+" "+strings.Join(names, ", "), maxAuditListRunes)
	}
	return say("drop", l.DropNames()) + "; " + say("hash", l.HashNames())
}

// maxAuditListRunes is how much of a list one line of the audit log tells.
const maxAuditListRunes = 1_000

// clean sorts the names, each once, and checks them.
func (l AttributeLists) clean() (AttributeLists, error) {
	var err error
	if l.Drop, err = cleanList("drop", l.Drop); err != nil {
		return l, err
	}
	l.Hash, err = cleanList("hash", l.Hash)
	return l, err
}

func cleanList(field, list string) (string, error) {
	names := listNames(list)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxListNames {
		return "", &InvalidError{field, fmt.Sprintf("A list has at most %d names; a name such as user.* stands for many.", maxListNames)}
	}
	for _, n := range names {
		exact := strings.TrimSuffix(n, ".*")
		switch {
		case !utf8.ValidString(n) || strings.ContainsFunc(n, unicode.IsControl):
			return "", &InvalidError{field, "A name of an attribute is text, without control characters."}
		case len(n) > maxListNameBytes:
			return "", &InvalidError{field, fmt.Sprintf("A name has at most %d bytes: %s.", maxListNameBytes, clipRunes(n, 40))}
		case exact == "" || strings.Contains(exact, "*"):
			return "", &InvalidError{field, fmt.Sprintf("A star stands only at the end, behind a dot, as in user.*: not %s.", clipRunes(n, 40))}
		}
	}
	return strings.Join(names, "\n"), nil
}

// UpdateKeyLists sets what becomes of the attributes that come with a key.
func (s *Store) UpdateKeyLists(ctx context.Context, id string, lists AttributeLists) error {
	lists, err := lists.clean()
	if err == nil {
		err = s.tx(ctx, func(tx *sql.Tx) error {
			var name string
			err := tx.QueryRowContext(ctx, `UPDATE ingest_keys SET drop_names = ?, hash_names = ? WHERE id = ? AND revoked_at IS NULL RETURNING name`,
				lists.Drop, lists.Hash, id).Scan(&name)
			if err != nil {
				return err
			}
			return s.addAudit(ctx, tx, AuditEntry{Action: "key.attributes", Subject: name, Detail: lists.words()})
		})
	}
	if err != nil {
		return fmt.Errorf("set attributes of ingest key %s: %w", id, translate(err))
	}
	return nil
}

// settingKeyless are the lists for what comes without a key, as JSON.
const settingKeyless = "keyless_attributes"

// KeylessLists are for what comes without a key, where none is asked for.
func (s *Store) KeylessLists(ctx context.Context) (AttributeLists, error) {
	var l AttributeLists
	raw, err := s.Setting(ctx, settingKeyless)
	if errors.Is(err, ErrNotFound) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(raw), &l)
	}
	if err != nil {
		return l, fmt.Errorf("attributes of what comes without a key: %w", err)
	}
	return l, nil
}

// UpdateKeylessLists sets what becomes of attributes that come without a key.
func (s *Store) UpdateKeylessLists(ctx context.Context, lists AttributeLists) error {
	lists, err := lists.clean()
	if err != nil {
		return err
	}
	e := AuditEntry{Action: "key.attributes", Subject: "without a key", Detail: lists.words()}
	return s.ChangeSetting(ctx, settingKeyless, e, func(string) (string, error) {
		raw, err := json.Marshal(lists)
		return string(raw), err
	})
}

// settingHashSecret is what attributes are hashed by. Who has it can tell by trying
// which value a hash is of, so it is shown nowhere; backups hold it, so that hashes
// stay the same.
const settingHashSecret = "attribute_hash_secret"

// HashSecret returns the 32 random bytes that attributes of this installation are
// hashed by. The first call makes them.
func (s *Store) HashSecret(ctx context.Context) ([]byte, error) {
	text, err := s.Setting(ctx, settingHashSecret)
	if errors.Is(err, ErrNotFound) {
		made := make([]byte, 32)
		_, _ = rand.Read(made) // never fails
		_, err = s.write.ExecContext(ctx, `INSERT INTO settings (key, value, updated_at) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING`,
			settingHashSecret, hex.EncodeToString(made), s.nowNano())
		if err == nil { // another process may have been first
			text, err = s.Setting(ctx, settingHashSecret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("hash secret: %w", err)
	}
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != 32 {
		return nil, errors.New("the secret that attributes are hashed by is damaged")
	}
	return secret, nil
}
