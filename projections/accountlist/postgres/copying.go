package postgres

import (
	"encoding/binary"

	"rollcall/domain"
)

// copyAccounts takes rows in the form that copying makes.
const copyAccounts = "COPY list.accounts (created_at, updated_at, revision, language, msg_settings, level, role, app, birthday, " +
	"user_id, type, nickname, folded, face_url, gender, location, self_signature, allow_type, admin_forbid_type, grams) FROM STDIN (FORMAT binary)"

// copyColumns is how many columns copyAccounts names.
const copyColumns = 20

// rowBytes is about how many bytes a row takes.
const rowBytes = 512

// copying is rows in the binary form of COPY
// (https://www.postgresql.org/docs/current/sql-copy.html): each value after its length.
type copying struct {
	buf   []byte
	grams []int32 // used again for each row
}

func newCopying(rows int) *copying {
	buf := make([]byte, 0, rows*rowBytes+64)
	buf = append(buf, "PGCOPY\n\xff\r\n\x00"...)
	return &copying{buf: append(buf, 0, 0, 0, 0, 0, 0, 0, 0)} // no flags, no extension
}

// add adds the row of an account.
func (c *copying) add(app int32, a *domain.Account) {
	p := &a.Profile
	c.buf = binary.BigEndian.AppendUint16(c.buf, copyColumns)
	c.int64(a.CreatedAt.UnixNano())
	c.int64(a.UpdatedAt.UnixNano())
	c.int64(int64(a.Revision))
	c.number(p.Language)
	c.number(p.MsgSettings)
	c.number(p.Level)
	c.number(p.Role)
	c.int32(app)
	c.int32(int32(p.Birthday))
	c.text(string(a.UserID))
	c.text(string(a.Type))
	c.text(p.Nickname)
	folded := domain.FoldText(p.Nickname)
	if folded == p.Nickname {
		c.null()
	} else {
		c.text(folded)
	}
	c.text(p.FaceURL)
	c.text(string(p.Gender))
	c.text(p.Location)
	c.text(p.SelfSignature)
	c.text(string(p.AllowType))
	c.text(string(p.AdminForbidType))
	c.grams = accountGrams(c.grams, app, a.UserID, folded)
	c.array(c.grams)
}

// end ends the rows and returns all bytes.
func (c *copying) end() []byte { return append(c.buf, 0xff, 0xff) }

func (c *copying) length(n int) { c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n)) }

func (c *copying) null() { c.length(-1) }

func (c *copying) int32(n int32) {
	c.length(4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n))
}

func (c *copying) int64(n int64) {
	c.length(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(n))
}

func (c *copying) number(n domain.Number) {
	if !n.Set {
		c.null()
		return
	}
	c.int64(int64(n.Value))
}

func (c *copying) text(s string) {
	c.length(len(s))
	c.buf = append(c.buf, s...)
}

// int4OID is the type of the elements of grams.
const int4OID = 23

// array appends an array of one dimension whose elements are none null.
func (c *copying) array(values []int32) {
	c.length(20 + 8*len(values))
	for _, n := range []int{1, 0, int4OID, len(values), 1} { // dimensions, no nulls, type, size, first index
		c.length(n)
	}
	for _, v := range values {
		c.int32(v)
	}
}
