package sqlite

import (
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
)

// accountRow is an account with the id of its row, zero for none.
type accountRow struct {
	id      int64
	account domain.Account
}

// accountColumns are the columns that readAccount reads, in its order.
const accountColumns = "id, user_id, type, nickname, face_url, gender, birthday, location, self_signature, allow_type, " +
	"language, msg_settings, admin_forbid_type, level, role, created_at, updated_at, revision"

func readAccount(row *sqlite.Stmt, app domain.AppID) accountRow {
	return accountRow{
		id: row.ColumnInt64(0),
		account: domain.Account{
			App:    app,
			UserID: domain.UserID(row.ColumnText(1)),
			Type:   domain.AccountType(row.ColumnText(2)),
			Profile: domain.Profile{
				Nickname:        row.ColumnText(3),
				FaceURL:         row.ColumnText(4),
				Gender:          domain.Gender(row.ColumnText(5)),
				Birthday:        uint32(row.ColumnInt64(6)),
				Location:        row.ColumnText(7),
				SelfSignature:   row.ColumnText(8),
				AllowType:       domain.AllowType(row.ColumnText(9)),
				Language:        readNumber(row, 10),
				MsgSettings:     readNumber(row, 11),
				AdminForbidType: domain.AdminForbidType(row.ColumnText(12)),
				Level:           readNumber(row, 13),
				Role:            readNumber(row, 14),
			},
			CreatedAt: fromNanos(row.ColumnInt64(15)),
			UpdatedAt: fromNanos(row.ColumnInt64(16)),
			Revision:  uint64(row.ColumnInt64(17)),
		},
	}
}

func readNumber(row *sqlite.Stmt, column int) domain.Number {
	if row.ColumnIsNull(column) {
		return domain.Number{}
	}
	return domain.Num(uint32(row.ColumnInt64(column)))
}

// findAccount returns an account of an application; its row's id is zero when there is none.
func findAccount(conn *sqlite.Conn, app appRow, id domain.UserID) (r accountRow, err error) {
	err = query(conn, "SELECT "+accountColumns+" FROM accounts WHERE app = ?1 AND user_id = ?2", func(row *sqlite.Stmt) error {
		r = readAccount(row, app.app.ID)
		return nil
	}, app.id, string(id))
	return r, err
}

// searchedByID returns those fields of an account that it is found and sorted by.
func searchedByID(conn *sqlite.Conn, id int64) (a domain.Account, err error) {
	err = query(conn, "SELECT user_id, type, nickname, created_at FROM accounts WHERE id = ?1", func(row *sqlite.Stmt) error {
		a.UserID, a.Type = domain.UserID(row.ColumnText(0)), domain.AccountType(row.ColumnText(1))
		a.Profile.Nickname, a.CreatedAt = row.ColumnText(2), fromNanos(row.ColumnInt64(3))
		return nil
	}, id)
	if err == nil && !a.Exists() {
		err = missingRow(id)
	}
	return a, err
}

// accountByID returns the account of a row that exists.
func accountByID(conn *sqlite.Conn, app appRow, id int64) (r accountRow, err error) {
	err = query(conn, "SELECT "+accountColumns+" FROM accounts WHERE id = ?1", func(row *sqlite.Stmt) error {
		r = readAccount(row, app.app.ID)
		return nil
	}, id)
	if err == nil && r.id == 0 {
		err = missingRow(id)
	}
	return r, err
}

func missingRow(id int64) error {
	return fmt.Errorf("%w: it names row %d, which does not exist", errInconsistent, id)
}

// The statements that write accounts.
const (
	// updateAccount leaves the columns alone that have an index.
	updateAccount = "UPDATE accounts SET face_url=?6, gender=?7, birthday=?8, location=?9, self_signature=?10, allow_type=?11, " +
		"language=?12, msg_settings=?13, admin_forbid_type=?14, level=?15, role=?16, updated_at=?18, revision=?19 WHERE id=?1"
	renameAccount = "UPDATE accounts SET nickname=?2 WHERE id=?1"
	deleteAccount = "DELETE FROM accounts WHERE id=?1"

	// accountParams is how many columns accounts has.
	accountParams = 19
	// insertRows is how many accounts one statement inserts: beginning a statement
	// costs about as much as a row.
	insertRows = 32
)

// insertSQL returns the statement that inserts n accounts. When it fails the batch
// does, so it need not be able to take back a part: OR FAIL spares it a journal of its own.
func insertSQL(n int) string {
	row := "(?" + strings.Repeat(",?", accountParams-1) + ")"
	return "INSERT OR FAIL INTO accounts VALUES " + row + strings.Repeat(","+row, n-1)
}

var (
	insertOne  = insertSQL(1)
	insertMany = insertSQL(insertRows)
)

// bindAccount binds an account to the parameters after the first ones, in the order of
// the columns of the table.
func bindAccount(stmt *sqlite.Stmt, first int, app, id int64, a *domain.Account) {
	p := &a.Profile
	stmt.BindInt64(first+1, id)
	stmt.BindInt64(first+2, app)
	stmt.BindText(first+3, string(a.UserID))
	stmt.BindText(first+4, string(a.Type))
	stmt.BindText(first+5, p.Nickname)
	stmt.BindText(first+6, p.FaceURL)
	stmt.BindText(first+7, string(p.Gender))
	stmt.BindInt64(first+8, int64(p.Birthday))
	stmt.BindText(first+9, p.Location)
	stmt.BindText(first+10, p.SelfSignature)
	stmt.BindText(first+11, string(p.AllowType))
	bindNumber(stmt, first+12, p.Language)
	bindNumber(stmt, first+13, p.MsgSettings)
	stmt.BindText(first+14, string(p.AdminForbidType))
	bindNumber(stmt, first+15, p.Level)
	bindNumber(stmt, first+16, p.Role)
	stmt.BindInt64(first+17, a.CreatedAt.UnixNano())
	stmt.BindInt64(first+18, a.UpdatedAt.UnixNano())
	stmt.BindInt64(first+19, int64(a.Revision))
}

func bindNumber(stmt *sqlite.Stmt, param int, n domain.Number) {
	if n.Set {
		stmt.BindInt64(param, int64(n.Value))
	}
}

func fromNanos(n int64) time.Time { return time.Unix(0, n).UTC() }

// storable returns an error for a time that nanoseconds since 1970 cannot tell.
func storable(t time.Time) error {
	if y := t.UTC().Year(); y < 1678 || y > 2261 {
		return fmt.Errorf("the time %s is outside of the years 1678 to 2261", t)
	}
	return nil
}
