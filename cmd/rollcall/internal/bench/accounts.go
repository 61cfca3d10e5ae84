package bench

import (
	"fmt"
	"io"
	"strings"
)

// nicknames are of several scripts, as those of a real service are.
var nicknames = [...]string{"김하늘", "이바다", "박 사과", "王小明", "محمد علي", "Ada Lovelace", "Иван", "🙂 smile", "さくら", "최지우"}

func nickname(i int) string { return fmt.Sprintf("%s %d", nicknames[i%len(nicknames)], i) }

func userID(i int) string { return fmt.Sprintf("user%08d", i) }

// body is the JSON of the account number i.
func body(i int) string {
	return fmt.Sprintf(`{"user_id":%q,"type":"normal","nickname":%q,"face_url":"https://img.example.com/%d.png","gender":"female","level":%d}`,
		userID(i), nickname(i), i, i%100)
}

// edited is the JSON of the account number i with another nickname.
func edited(i int) string { return strings.Replace(body(i), nickname(i), nickname(i+1), 1) }

// rows is the NDJSON of n accounts. It is made as it is read.
type rows struct {
	n, next int
	of      func(i int) string // body when nil
	rest    []byte
}

func (r *rows) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.rest) == 0 {
			if r.next == r.n {
				break
			}
			one := body
			if r.of != nil {
				one = r.of
			}
			r.rest = append(r.rest[:0], one(r.next)...)
			r.rest = append(r.rest, '\n')
			r.next++
		}
		m := copy(p[n:], r.rest)
		r.rest = r.rest[m:]
		n += m
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
