package collab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
)

// Visibility says who may see an investigation, beside whoever opened it, leads
// it or was asked in. Who may see it may change it, as far as the role allows. An
// administrator is no exception.
type Visibility string

// The visibilities.
const (
	VisibilityWorkspace Visibility = "workspace" // everybody who is signed in
	VisibilityTeam      Visibility = "team"      // the members of its teams
	VisibilityPrivate   Visibility = "private"   // nobody else
)

// Visibilities lists them all, the widest first.
var Visibilities = []Visibility{VisibilityWorkspace, VisibilityTeam, VisibilityPrivate}

// MergedError says that an investigation was merged into another. The actor may
// see that one, and could see the one that is merged: who could not learns
// nothing of it, not even that it was.
type MergedError struct{ Into InvestigationID }

func (e *MergedError) Error() string { return "collab: merged into " + string(e.Into) }

type serverKey struct{}

// AsServer returns a context for what the server does by itself: it reads every
// investigation. A request never gets one.
func AsServer(ctx context.Context) context.Context {
	return context.WithValue(ctx, serverKey{}, true)
}

// reader is who reads: an actor, the server itself, or, if zero, nobody.
type reader struct {
	id     string
	server bool
}

func readerOf(ctx context.Context) reader {
	r := reader{}
	r.server, _ = ctx.Value(serverKey{}).(bool)
	if a, ok := ActorFrom(ctx); ok {
		r.id = a.ID
	}
	return r
}

// args are the parameters of [seenBy].
func (r reader) args() []any { return []any{r.id, r.server} }

// seenBy is the one rule who may see an investigation, as a condition: that of
// the id in the given expression may be seen by the reader whose args it takes.
// One that was merged into another is seen by the server alone.
func seenBy(id string) string { return seenByReader(id, "?", "?") }

// seenByReader is seenBy for a reader whose id, and whether it is the server,
// two expressions give.
func seenByReader(id, user, server string) string {
	return seenIf(id, user, server, "seen.merged_into = ''")
}

// saw says of one that was merged into another, in place of seenBy, that it could
// be seen until then.
func saw(id string) string { return seenIf(id, "?", "?", "seen.merged_into <> ''") }

func seenIf(id, user, server, state string) string {
	return `EXISTS (SELECT 1 FROM (SELECT ` + user + ` AS id, ` + server + ` AS server) AS reader
		JOIN investigations seen ON seen.id = ` + id + `
		WHERE reader.server OR reader.id <> '' AND ` + state + ` AND (seen.visibility = 'workspace' OR seen.created_by = reader.id OR seen.lead = reader.id
			OR EXISTS (SELECT 1 FROM investigation_people p WHERE p.investigation_id = seen.id AND p.user_id = reader.id)
			OR seen.visibility = 'team' AND EXISTS (SELECT 1 FROM investigation_teams t JOIN team_members m ON m.team_id = t.team_id
				WHERE t.investigation_id = seen.id AND m.user_id = reader.id)))`
}

// maySee is [Store.MaySee] for whoever reads, also of what was deleted.
func maySee(ctx context.Context, q querier, id InvestigationID) error {
	var ok bool
	if err := q.QueryRowContext(ctx, `SELECT `+seenBy("?"), append(readerOf(ctx).args(), id)...).Scan(&ok); err != nil {
		return fmt.Errorf("access to %s: %w", id, err)
	}
	if ok {
		return nil
	}
	var into InvestigationID
	args := slices.Concat([]any{id}, readerOf(ctx).args(), readerOf(ctx).args())
	err := q.QueryRowContext(ctx, `SELECT i.merged_into FROM investigations i WHERE i.id = ? AND i.merged_into <> '' AND `+saw("i.id")+` AND `+seenBy("i.merged_into"), args...).Scan(&into)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("investigation %s: %w", id, ErrNotFound)
	case err != nil:
		return fmt.Errorf("access to %s: %w", id, err)
	}
	return &MergedError{into}
}

// MaySee answers nil if the context's actor may see an investigation. If not, the
// answer is the same [ErrNotFound] as if there were none, or a *[MergedError] if
// they could until it was merged into one that they may see. An open socket asks again and
// again: access may end at any time.
func (s *Store) MaySee(ctx context.Context, id InvestigationID) error {
	if err := maySee(ctx, s.read, id); err != nil {
		return err
	}
	var deleted bool
	err := s.read.QueryRowContext(ctx, `SELECT deleted_at <> 0 FROM investigations WHERE id = ?`, id).Scan(&deleted)
	if err == nil && deleted {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("investigation %s: %w", id, translate(err))
	}
	return nil
}

// Readers returns those of some actors, by id, who may read the log of an
// investigation now: whoever may see it, and, of one that was merged into another,
// whoever could and may see that one.
func (s *Store) Readers(ctx context.Context, id InvestigationID, actors []string) ([]string, error) {
	list, err := marshal(actors)
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", id, err)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT who.value FROM (SELECT ?1 AS id) AS inv, json_each(?2) AS who WHERE `+seenByReader("inv.id", "who.value", "FALSE")+
		` OR `+seenIf("inv.id", "who.value", "FALSE", "seen.merged_into <> ''")+
		` AND `+seenByReader("(SELECT merged_into FROM investigations WHERE id = inv.id)", "who.value", "FALSE"), id, string(list))
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", id, err)
	}
	readers, err := scanStrings(rows)
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", id, err)
	}
	return readers, nil
}
