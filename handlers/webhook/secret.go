package webhook

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"rollcall/domain"
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

// sealer seals secrets with AES-256-GCM, and opens those that other keys have sealed too. It is safe for concurrent use.
type sealer struct {
	aead   cipher.AEAD
	others []cipher.AEAD
}

func newSealer(key []byte, others ...[]byte) (s sealer, err error) {
	if s.aead, err = newAEAD(key); err != nil {
		return sealer{}, err
	}
	for _, other := range others {
		aead, err := newAEAD(other)
		if err != nil {
			return sealer{}, err
		}
		s.others = append(s.others, aead)
	}
	return s, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("the key of webhook secrets has %d bytes, want %d", len(key), KeyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// open returns a secret in clear, and whether another key than that of now has sealed it.
func (s sealer) open(secret SealedSecret, w Webhook) (plain []byte, other bool, err error) {
	if plain, err = s.aead.Open(nil, nil, secret.Sealed, owner(w)); err == nil {
		return plain, false, nil
	}
	for _, aead := range s.others {
		if plain, err = aead.Open(nil, nil, secret.Sealed, owner(w)); err == nil {
			return plain, true, nil
		}
	}
	return nil, false, errors.New("the secret cannot be opened with this master key")
}

// reseal seals those secrets of a record with the key of now that another one has sealed, and tells whether there were some.
func (s sealer) reseal(r *Record) (changed bool, err error) {
	fresh := slices.Clone(r.Secrets)
	for i, secret := range fresh {
		plain, other, err := s.open(secret, r.Webhook)
		if err != nil {
			return false, err
		}
		if other {
			fresh[i].Sealed, changed = s.aead.Seal(nil, nil, plain, owner(r.Webhook)), true
		}
		clear(plain)
	}
	r.Secrets = fresh
	return changed, nil
}

// Reseal seals the secrets of an application's webhooks with Config.Key that Config.OtherKeys have sealed, so that those may be dropped.
func (s *Service) Reseal(ctx context.Context, app domain.AppID) error {
	records, err := s.cfg.Registry.List(ctx, app)
	if err != nil {
		return fmt.Errorf("seal the webhook secrets of %s anew: %w", app, err)
	}
	var errs []error
	for _, r := range records {
		changed, err := s.sealer.reseal(&r)
		if err == nil && changed {
			err = s.cfg.Registry.Replace(ctx, r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("seal the secrets of webhook %s of %s anew: %w", r.ID, app, err))
		}
	}
	return errors.Join(errs...)
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
		key, _, err := s.open(secret, r.Webhook)
		if err != nil {
			return "", err
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
