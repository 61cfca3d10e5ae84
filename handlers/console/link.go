package console

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// linkLife is how long a link to sign in with is good.
const linkLife = 10 * time.Minute

// links are the links to sign in with that this instance gave out, each good once. It is safe for concurrent use, and
// ready for use when zero.
type links struct {
	mu    sync.Mutex
	given map[[sha256.Size]byte]link // by the hash of the code, so that finding one tells nothing of the others
}

type link struct {
	token   string
	expires time.Time
}

// give returns a code of 130 random bits that stands for a token, once, until it expires.
func (l *links) give(token string, now time.Time) string {
	code := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if l.given == nil {
		l.given = make(map[[sha256.Size]byte]link)
	}
	l.given[sha256.Sum256([]byte(code))] = link{token: token, expires: now.Add(linkLife)}
	return code
}

// take returns the token that a code stands for, which it stands for no longer.
func (l *links) take(code string, now time.Time) (token string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	key := sha256.Sum256([]byte(code))
	found, ok := l.given[key]
	delete(l.given, key)
	return found.token, ok
}

func (l *links) expire(now time.Time) {
	for key, v := range l.given {
		if !now.Before(v.expires) {
			delete(l.given, key)
		}
	}
}

// SignInPath returns the path of a page that signs its visitor in with a token. It is good once, for ten minutes, at this
// instance; opening it does not use it up, its button does.
func (h *Handler) SignInPath(token string) string {
	return linkPath + h.links.give(token, time.Now())
}
