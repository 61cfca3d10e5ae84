package console

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	sessionCookie = "rollcall_session"

	// sessionLife is how long a session lasts that is not used. A page that is opened in its second half renews it.
	sessionLife = 12 * time.Hour
	// sessionLimit is how long a session lasts at most, however it is used.
	sessionLimit = 7 * 24 * time.Hour

	// minSecretBytes is the least length of Config.Secret.
	minSecretBytes = 32

	sessionPurpose = "rollcall console session v1"
	timeBytes      = 8
)

// session is what the cookie holds. Nothing is kept here of it, so that any instance with the same secret takes it; whether
// its token is still good is asked at each request.
type session struct {
	token   string
	began   time.Time // when its holder signed in
	expires time.Time
}

// sealer writes sessions as the values of cookies.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret []byte) (sealer, error) {
	if len(secret) < minSecretBytes {
		return sealer{}, fmt.Errorf("the secret that seals sessions has %d bytes; it needs at least %d", len(secret), minSecretBytes)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, sessionPurpose, 32)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the key of sessions: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("make the cipher of sessions: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("make the cipher of sessions: %w", err)
	}
	return sealer{aead}, nil
}

func (s sealer) seal(v session) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(v.began.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(v.expires.Unix()))
	b = append(b, v.token...)
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, b, []byte(sessionPurpose)))
}

var errNoSession = errors.New("there is no session, or it has ended")

// open returns the session in the value of a cookie, or errNoSession when it is none of ours or over at now.
func (s sealer) open(value string, now time.Time) (session, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return session{}, errNoSession
	}
	b, err := s.aead.Open(nil, nil, sealed, []byte(sessionPurpose))
	if err != nil || len(b) <= 2*timeBytes {
		return session{}, errNoSession
	}
	v := session{
		began:   time.Unix(int64(binary.BigEndian.Uint64(b)), 0),
		expires: time.Unix(int64(binary.BigEndian.Uint64(b[timeBytes:])), 0),
		token:   string(b[2*timeBytes:]),
	}
	if !now.Before(v.expires) {
		return session{}, errNoSession
	}
	return v, nil
}

// begin returns a session of a token.
func begin(token string, now time.Time) session {
	return session{token: token, began: now, expires: now.Add(sessionLife)}
}

// renewed returns the session with a later end, and whether that is worth a new cookie.
func (v session) renewed(now time.Time) (session, bool) {
	if v.expires.Sub(now) > sessionLife/2 {
		return v, false
	}
	end := now.Add(sessionLife)
	if limit := v.began.Add(sessionLimit); end.After(limit) {
		end = limit
	}
	later := end.After(v.expires)
	v.expires = end
	return v, later
}

// Session returns the token of the session that a request belongs to. It is good for httpapi.Config.Session.
func (h *Handler) Session(r *http.Request) (secret string, ok bool) {
	v, err := h.sessionOf(r)
	return v.token, err == nil
}

func (h *Handler) sessionOf(r *http.Request) (session, error) {
	cookies := r.CookiesNamed(sessionCookie)
	if len(cookies) != 1 { // two are none: one of them was planted
		return session{}, errNoSession
	}
	return h.sessions.open(cookies[0].Value, time.Now())
}

// keep gives the browser a session.
func (h *Handler) keep(w http.ResponseWriter, r *http.Request, v session) {
	http.SetCookie(w, h.cookie(r, sessionCookie, h.sessions.seal(v), int(time.Until(v.expires).Seconds())))
}

// drop takes the session from the browser.
func (h *Handler) drop(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, h.cookie(r, sessionCookie, "", -1))
}

// cookie makes a cookie that scripts cannot read and other sites do not make the browser send.
func (h *Handler) cookie(r *http.Request, name, value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: h.Secure || r.TLS != nil,
	}
}
