package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
)

// errLost means that rows were not where the batch had read them.
var errLost = errors.New("rows have vanished from the tables")

// flush writes all rows. New accounts go straight into their table by COPY, the fastest way that
// there is; what is there already is changed before, in one round trip.
func (b *batch) flush(ctx context.Context) error {
	var gone, edited, renamed, created []*accountState
	for _, s := range b.order {
		was, now := s.stored.Exists(), s.now.Exists()
		if s.created && !now && !s.looked {
			return errUncertain
		}
		switch {
		case was && now && !s.created && s.now.Profile.Nickname == s.stored.Profile.Nickname:
			edited = append(edited, s)
		case was && now && !s.created:
			renamed = append(renamed, s)
		default:
			if was {
				gone = append(gone, s)
			}
			if now {
				created = append(created, s)
			}
		}
	}
	b.deleted = len(gone)
	var changes pgx.Batch
	b.writeApps(&changes)
	b.delete(&changes, gone)
	b.update(&changes, edited, plainColumns())
	b.update(&changes, renamed, append(plainColumns(), nameColumns()...))
	if changes.Len() > 0 {
		if err := b.tx.SendBatch(ctx, &changes).Close(); err != nil {
			return err
		}
	}
	return b.insert(ctx, created)
}

// queue adds a statement that must change a number of rows.
func (b *batch) queue(to *pgx.Batch, rows int, sql string, args ...any) {
	q := to.Queue(in(b.generation, sql), args...)
	results := func(br pgx.BatchResults) error {
		tag, err := br.Exec()
		if err == nil && tag.RowsAffected() != int64(rows) {
			err = fmt.Errorf("%w: %d of %d", errLost, int64(rows)-tag.RowsAffected(), rows)
		}
		return err
	}
	q.Fn = results
}

func (b *batch) writeApps(to *pgx.Batch) {
	const update = "UPDATE list.apps SET name = $2, max_admins = $3, created_at = $4, updated_at = $5, revision = $6, normals = $7, admins = $8 WHERE id = $1"
	for _, s := range b.apps {
		if s.changed {
			a := s.app
			b.queue(to, 1, update, s.id, a.Name, a.MaxAdmins, a.CreatedAt.UnixNano(), a.UpdatedAt.UnixNano(), int64(a.Revision), s.Normals, s.Admins)
		}
	}
}

// delete deletes accounts, among them those that are created again: a new account has
// nothing of the old one.
func (b *batch) delete(to *pgx.Batch, gone []*accountState) {
	if len(gone) == 0 {
		return
	}
	apps, ids := make([]int32, len(gone)), make([]string, len(gone))
	for i, s := range gone {
		apps[i], ids[i] = s.app.id, string(s.stored.UserID)
	}
	b.queue(to, len(gone), "DELETE FROM list.accounts a USING unnest($1::int[], $2::text[]) AS k (app, user_id) "+
		"WHERE a.app = k.app AND a.user_id = k.user_id", apps, ids)
}

// column is what is written into one column.
type column struct {
	name  string
	value func(*accountState) any
}

// update updates accounts, either with their nicknames or without: what has an index is left
// alone where it can be, so that no index is written. One statement for all by arrays was
// measured to be no faster than one each, sent together, whose plan is always the same.
func (b *batch) update(to *pgx.Batch, changed []*accountState, columns []column) {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = fmt.Sprintf("%s = $%d", c.name, i+3)
	}
	sql := "UPDATE list.accounts SET " + strings.Join(sets, ", ") + " WHERE app = $1 AND user_id = $2"
	for _, s := range changed {
		args := make([]any, 0, 2+len(columns))
		args = append(args, s.app.id, string(s.now.UserID))
		for _, c := range columns {
			args = append(args, c.value(s))
		}
		b.queue(to, 1, sql, args...)
	}
}

// plainColumns are the columns that may change without the nickname.
func plainColumns() []column {
	text := func(name string, of func(*domain.Profile) string) column {
		return column{name, func(s *accountState) any { return of(&s.now.Profile) }}
	}
	number := func(name string, of func(*domain.Profile) domain.Number) column {
		return column{name, func(s *accountState) any {
			if n := of(&s.now.Profile); n.Set {
				return int64(n.Value)
			}
			return nil
		}}
	}
	return []column{
		{"updated_at", func(s *accountState) any { return s.now.UpdatedAt.UnixNano() }},
		{"revision", func(s *accountState) any { return int64(s.now.Revision) }},
		{"birthday", func(s *accountState) any { return int32(s.now.Profile.Birthday) }},
		text("face_url", func(p *domain.Profile) string { return p.FaceURL }),
		text("gender", func(p *domain.Profile) string { return string(p.Gender) }),
		text("location", func(p *domain.Profile) string { return p.Location }),
		text("self_signature", func(p *domain.Profile) string { return p.SelfSignature }),
		text("allow_type", func(p *domain.Profile) string { return string(p.AllowType) }),
		text("admin_forbid_type", func(p *domain.Profile) string { return string(p.AdminForbidType) }),
		number("language", func(p *domain.Profile) domain.Number { return p.Language }),
		number("msg_settings", func(p *domain.Profile) domain.Number { return p.MsgSettings }),
		number("level", func(p *domain.Profile) domain.Number { return p.Level }),
		number("role", func(p *domain.Profile) domain.Number { return p.Role }),
	}
}

// nameColumns are the columns that change with a nickname.
func nameColumns() []column {
	return []column{
		{"nickname", func(s *accountState) any { return s.now.Profile.Nickname }},
		{"folded", func(s *accountState) any {
			if folded := domain.FoldText(s.now.Profile.Nickname); folded != s.now.Profile.Nickname {
				return folded
			}
			return nil
		}},
		{"grams", func(s *accountState) any {
			return accountGrams(nil, s.app.id, s.now.UserID, domain.FoldText(s.now.Profile.Nickname))
		}},
	}
}

// insert inserts accounts by COPY.
func (b *batch) insert(ctx context.Context, created []*accountState) error {
	if len(created) == 0 {
		return nil
	}
	c := newCopying(len(created))
	for _, s := range created {
		c.add(s.app.id, &s.now)
	}
	tag, err := b.tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.end()), in(b.generation, copyAccounts))
	if err == nil && tag.RowsAffected() != int64(len(created)) {
		err = fmt.Errorf("%w: %d of %d new ones", errLost, int64(len(created))-tag.RowsAffected(), len(created))
	}
	return err
}
