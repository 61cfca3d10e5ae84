package webhook

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// KeyBytes is the length of the key that seals the secrets of webhooks.
const KeyBytes = 32

const (
	secretPrefix = "whsec_"
	secretBytes  = 32 // within the 24 to 64 of the convention
	// oldSecretLife is how long the secret of before a rotation signs too, so that receivers can change theirs meanwhile.
	oldSecretLife = 24 * time.Hour
)

// SealedSecret is a secret as it is kept. It has to be known in clear to sign, so that it is sealed rather than hashed.
type SealedSecret struct {
	Sealed []byte
	Until  time.Time // zero for one that was not replaced
}

// sealer seals secrets with AES-256-GCM. It is safe for concurrent use.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	if len(key) != KeyBytes {
		return sealer{}, fmt.Errorf("the key of webhook secrets has %d bytes, want %d", len(key), KeyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// newSecret returns a secret as its owner is told it, and sealed for one webhook.
func (s sealer) newSecret(w Webhook) (string, SealedSecret) {
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails, see crypto/rand
	defer clear(secret)
	return secretPrefix + base64.StdEncoding.EncodeToString(secret), SealedSecret{Sealed: s.aead.Seal(nil, nil, secret, owner(w))}
}

// owner binds what is sealed to its webhook, so that it opens nowhere else.
func owner(w Webhook) []byte { return []byte("webhook\x00" + string(w.App) + "\x00" + w.ID) }

// sign returns the header webhook-signature: a signature by each secret that is good, the newest first.
func (s sealer) sign(r Record, id string, at time.Time, body []byte) (string, error) {
	var header []byte
	for _, secret := range r.Secrets {
		if !secret.Until.IsZero() && !at.Before(secret.Until) {
			continue
		}
		key, err := s.aead.Open(nil, nil, secret.Sealed, owner(r.Webhook))
		if err != nil {
			return "", errors.New("the secret cannot be opened with this master key")
		}
		if header != nil {
			header = append(header, ' ')
		}
		header = append(header, signature(key, id, at, body)...)
		clear(key)
	}
	if header == nil {
		return "", errors.New("it has no secret")
	}
	return string(header), nil
}

// signature returns one signature (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
func signature(key []byte, id string, at time.Time, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// rotate puts a new secret before that of now, which stays good for a while; older ones go.
func (r *Record) rotate(fresh SealedSecret, now time.Time) {
	secrets := []SealedSecret{fresh}
	if len(r.Secrets) > 0 {
		old := r.Secrets[0]
		old.Until = now.Add(oldSecretLife)
		secrets = append(secrets, old)
	}
	r.Secrets = secrets
}
