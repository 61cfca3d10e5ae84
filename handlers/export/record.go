package export

import (
	"encoding/binary"
	"errors"
	"time"

	"rollcall/domain"
)

// texts and numbers list what a record of an account holds, in its order.
func texts(a *domain.Account) [9]*string {
	p := &a.Profile
	return [...]*string{
		(*string)(&a.UserID), (*string)(&a.Type), &p.Nickname, &p.FaceURL, (*string)(&p.Gender), &p.Location, &p.SelfSignature,
		(*string)(&p.AllowType), (*string)(&p.AdminForbidType),
	}
}

func numbers(a *domain.Account) [4]*domain.Number {
	p := &a.Profile
	return [...]*domain.Number{&p.Language, &p.MsgSettings, &p.Level, &p.Role}
}

// appendRecord appends an account, but for its application, in a form that only readRecord understands.
func appendRecord(b []byte, a *domain.Account) []byte {
	for _, text := range texts(a) {
		b = binary.AppendUvarint(b, uint64(len(*text)))
		b = append(b, *text...)
	}
	for _, n := range numbers(a) {
		v := uint64(0)
		if n.Set {
			v = uint64(n.Value) + 1
		}
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendUvarint(b, uint64(a.Profile.Birthday))
	b = binary.AppendUvarint(b, a.Revision)
	b = binary.AppendVarint(b, a.CreatedAt.UnixNano())
	return binary.AppendVarint(b, a.UpdatedAt.UnixNano())
}

var errRecord = errors.New("a part of the export is damaged")

// records reads what appendRecord wrote. Once it has failed it reads nothing but zeros.
type records struct {
	left   string
	failed bool
}

func (r *records) account(app domain.AppID) (a domain.Account) {
	a.App = app
	for _, text := range texts(&a) {
		*text = r.text()
	}
	for _, n := range numbers(&a) {
		if v := r.number(); v > 0 {
			*n = domain.Num(uint32(v - 1))
		}
	}
	a.Profile.Birthday = uint32(r.number())
	a.Revision = r.number()
	a.CreatedAt, a.UpdatedAt = r.time(), r.time()
	return a
}

func (r *records) text() string {
	n := r.number()
	if n > uint64(len(r.left)) {
		r.failed = true
		return ""
	}
	text := r.left[:n]
	r.left = r.left[n:]
	return text
}

// number undoes binary.AppendUvarint.
func (r *records) number() (v uint64) {
	for i, shift := 0, uint(0); i < len(r.left) && i < binary.MaxVarintLen64; i, shift = i+1, shift+7 {
		c := r.left[i]
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			r.left = r.left[i+1:]
			return v
		}
	}
	r.failed = true
	return 0
}

func (r *records) time() time.Time {
	v := r.number()
	n := int64(v >> 1)
	if v&1 != 0 {
		n = ^n
	}
	return time.Unix(0, n).UTC()
}
