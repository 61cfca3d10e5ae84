package export

import (
	"reflect"
	"testing"
	"time"

	"rollcall/domain"
)

func TestARecordHoldsEveryFieldOfAnAccount(t *testing.T) {
	var a domain.Account
	fill(reflect.ValueOf(&a).Elem(), new(int64))
	none := domain.Account{App: a.App, UserID: "u", CreatedAt: time.Unix(0, -5).UTC(), UpdatedAt: time.Unix(0, 0).UTC()}
	one := appendRecord(nil, &a)
	b := appendRecord(one, &none)
	r := records{left: string(b)}
	for _, want := range []domain.Account{a, none} {
		if got := r.account(a.App); got != want || r.failed {
			t.Errorf("%+v is read as %+v", want, got)
		}
	}
	for n := range one {
		r := records{left: string(one[:n])}
		if r.account(""); !r.failed {
			t.Errorf("%d of %d bytes are taken for an account", n, len(one))
		}
	}
}

// fill sets every field to a value of its own.
func fill(v reflect.Value, n *int64) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(*n, *n).UTC()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case v.Kind() == reflect.String:
		v.SetString(string(rune('a' + *n)))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	default:
		v.SetUint(uint64(*n) << 20)
	}
}
