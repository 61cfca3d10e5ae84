package postgres

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

// appRow is an application with its counters.
type appRow struct {
	accountlist.Counts
	id  int32 // zero for none
	app domain.App
}

const selectApps = "SELECT id, app, name, max_admins, created_at, updated_at, revision, normals, admins FROM list.apps"

func readApp(row pgx.Rows) (r appRow, err error) {
	var created, updated int64
	err = row.Scan(&r.id, &r.app.ID, &r.app.Name, &r.app.MaxAdmins, &created, &updated, &r.app.Revision, &r.Normals, &r.Admins)
	r.app.CreatedAt, r.app.UpdatedAt = fromNanos(created), fromNanos(updated)
	return r, err
}

// accountColumns are the columns that readAccount reads, in its order.
const accountColumns = "a.user_id, a.type, a.nickname, a.face_url, a.gender, a.birthday, a.location, a.self_signature, a.allow_type, " +
	"a.language, a.msg_settings, a.admin_forbid_type, a.level, a.role, a.created_at, a.updated_at, a.revision"

// readAccount reads an account from the columns that follow those of before.
func readAccount(row pgx.Rows, app domain.AppID, before ...any) (domain.Account, error) {
	a := domain.Account{App: app}
	p := &a.Profile
	var language, settings, level, role *int64
	var created, updated int64
	err := row.Scan(append(before, &a.UserID, &a.Type, &p.Nickname, &p.FaceURL, &p.Gender, &p.Birthday, &p.Location, &p.SelfSignature, &p.AllowType,
		&language, &settings, &p.AdminForbidType, &level, &role, &created, &updated, &a.Revision)...)
	p.Language, p.MsgSettings, p.Level, p.Role = readNumber(language), readNumber(settings), readNumber(level), readNumber(role)
	a.CreatedAt, a.UpdatedAt = fromNanos(created), fromNanos(updated)
	return a, err
}

func readNumber(n *int64) domain.Number {
	if n == nil {
		return domain.Number{}
	}
	return domain.Num(uint32(*n))
}

func fromNanos(n int64) time.Time { return time.Unix(0, n).UTC() }

// storableTime returns an error for a time that nanoseconds since 1970 cannot tell.
func storableTime(t time.Time) error {
	if y := t.UTC().Year(); y < 1678 || y > 2261 {
		return fmt.Errorf("the time %s is outside of the years 1678 to 2261", t)
	}
	return nil
}

// storable returns an error for text that the database cannot hold, which no command lets
// through.
func storable(text string) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return errors.New("a text is not UTF-8 or contains U+0000")
	}
	return nil
}

// storableAccount is storable for all texts of an account.
func storableAccount(a *domain.Account) error {
	p := &a.Profile
	for _, text := range []string{
		string(a.UserID), p.Nickname, p.FaceURL, string(p.Gender), p.Location, p.SelfSignature, string(p.AllowType), string(p.AdminForbidType),
	} {
		if err := storable(text); err != nil {
			return err
		}
	}
	return nil
}
