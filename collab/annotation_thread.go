package collab

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// reacted is one person's reaction, as the database tells it.
type reacted struct {
	Reaction Reaction
	ID, Name string
	At       int64
}

// readReactions groups the people who reacted by what they did.
func readReactions(raw string) ([]ReactionCount, error) {
	var all []reacted
	if err := json.Unmarshal([]byte(raw), &all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b reacted) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID)) })
	list := []ReactionCount{}
	for _, r := range all {
		list = addReaction(list, r.Reaction, Person{r.ID, r.Name})
	}
	return list, nil
}

// addReaction adds somebody's reaction to those there are, in the order of
// [AnnotationReactions].
func addReaction(list []ReactionCount, r Reaction, p Person) []ReactionCount {
	rank := func(c ReactionCount, r Reaction) int {
		return cmp.Compare(slices.Index(AnnotationReactions, c.Reaction), slices.Index(AnnotationReactions, r))
	}
	i, there := slices.BinarySearchFunc(list, r, rank)
	if !there {
		list = slices.Insert(list, i, ReactionCount{Reaction: r})
	}
	list[i].People = append(list[i].People, p)
	return list
}

// dropReaction takes somebody's reaction away.
func dropReaction(list []ReactionCount, r Reaction, id string) []ReactionCount {
	for i := range list {
		if list[i].Reaction == r {
			list[i].People = slices.DeleteFunc(list[i].People, func(p Person) bool { return p.ID == id })
		}
	}
	return slices.DeleteFunc(list, func(c ReactionCount) bool { return len(c.People) == 0 })
}

// HasReacted reports whether somebody left the reaction.
func (a *Annotation) HasReacted(user string, r Reaction) bool {
	return slices.ContainsFunc(a.Reactions, func(c ReactionCount) bool {
		return c.Reaction == r && slices.ContainsFunc(c.People, func(p Person) bool { return p.ID == user })
	})
}

// React leaves a reaction on an annotation, or takes it away. Doing it twice is
// doing it once.
func (s *Store) React(ctx context.Context, id AnnotationID, r Reaction, on bool) (*Annotation, error) {
	if !slices.Contains(AnnotationReactions, r) {
		return nil, &InvalidError{"reaction", "A reaction is agree, disagree, looking, unclear or thanks."}
	}
	var a *Annotation
	err := s.do(ctx, func(w *work) (err error) {
		if a, err = annotationByID(ctx, w.tx, id); err != nil {
			return err
		}
		if a.deleted {
			return fmt.Errorf("annotation %s was deleted: %w", id, ErrNotFound)
		}
		if a.HasReacted(w.actor.ID, r) == on {
			return nil
		}
		if on {
			a.Reactions = addReaction(a.Reactions, r, Person{w.actor.ID, w.actor.Name})
			_, err = w.tx.ExecContext(ctx, `INSERT INTO annotation_reactions (annotation_id, reaction, actor_id, actor_name, at) VALUES (?, ?, ?, ?, ?)`,
				id, r, w.actor.ID, w.actor.Name, w.now)
		} else {
			a.Reactions = dropReaction(a.Reactions, r, w.actor.ID)
			_, err = w.tx.ExecContext(ctx, `DELETE FROM annotation_reactions WHERE annotation_id = ? AND reaction = ? AND actor_id = ?`, id, r, w.actor.ID)
		}
		if err != nil {
			return fmt.Errorf("react to %s: %w", id, err)
		}
		_, err = w.logAnnotation(ctx, AnnotationReacted, a, "", map[string]any{"id": id, "anchor": a.Anchor, "reaction": r, "on": on})
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// resolveAnnotation ends a thread of annotations, or opens it again.
func (w *work) resolveAnnotation(ctx context.Context, a *Annotation, resolved bool, ref string) error {
	if a.ParentID != "" {
		return &InvalidError{"resolved", "A reply is resolved with what it replies to."}
	}
	if resolved == (a.ResolvedUnixNano > 0) {
		return nil
	}
	typ := AnnotationResolved
	if resolved {
		a.ResolvedUnixNano, a.ResolvedBy, a.ResolvedByName = w.now, w.actor.ID, w.actor.Name
	} else {
		a.ResolvedUnixNano, a.ResolvedBy, a.ResolvedByName = 0, "", ""
		typ = AnnotationReopened
	}
	_, err := w.tx.ExecContext(ctx, `UPDATE annotations SET resolved_at = ?, resolved_by = ?, resolved_by_name = ? WHERE id = ?`,
		a.ResolvedUnixNano, a.ResolvedBy, a.ResolvedByName, a.ID)
	if err != nil {
		return fmt.Errorf("resolve annotation %s: %w", a.ID, err)
	}
	_, err = w.logAnnotation(ctx, typ, a, ref, map[string]any{"id": a.ID, "anchor": a.Anchor})
	return err
}

// keepVersion keeps the text that an annotation has now.
func (w *work) keepVersion(ctx context.Context, a *Annotation) error {
	_, err := w.tx.ExecContext(ctx, `INSERT INTO annotation_versions (annotation_id, version, text, actor_id, actor_name, at) VALUES (?, ?, ?, ?, ?, ?)`,
		a.ID, a.Versions, a.Text, w.actor.ID, w.actor.Name, w.now)
	if err != nil {
		return fmt.Errorf("keep text of %s: %w", a.ID, err)
	}
	return nil
}

// AnnotationVersions returns every text that an annotation had, the first first.
func (s *Store) AnnotationVersions(ctx context.Context, id AnnotationID) ([]AnnotationVersion, error) {
	if _, err := s.AnnotationByID(ctx, id); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT version, text, actor_id, actor_name, at FROM annotation_versions WHERE annotation_id = ? ORDER BY version`, id)
	if err != nil {
		return nil, fmt.Errorf("texts of %s: %w", id, err)
	}
	defer rows.Close()
	list := []AnnotationVersion{}
	for rows.Next() {
		var v AnnotationVersion
		if err := rows.Scan(&v.Version, &v.Text, &v.Actor, &v.ActorName, &v.AtUnixNano); err != nil {
			return nil, fmt.Errorf("texts of %s: %w", id, err)
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
