package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"rollcall/eventstore/keyring"
	"rollcall/eventstore/keyring/kms"
	"rollcall/handlers/export/files"
	"rollcall/handlers/httpapi"
)

// masterKeys are the keys that wrap those of the accounts.
type masterKeys struct {
	current   keyring.MasterKey
	old, next []keyring.MasterKey
}

// others returns all but the current one.
func (m masterKeys) others() []keyring.MasterKey {
	return append(m.old[:len(m.old):len(m.old)], m.next...)
}

// What is behind the name of the file of the master key in those of the others.
const (
	oldSuffix  = ".old"
	nextSuffix = ".next"
)

// masterKeys returns the master keys. A new one is made only where no log is and no other instance is: beside a log it would wrap
// nothing that is there, and each instance would make its own.
func (c Config) masterKeys(ctx context.Context, hasLog bool) (m masterKeys, err error) {
	m.current, err = readMasterKey(ctx, "ROLLCALL_MASTER_KEY", c.MasterKey, c.masterKeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		m.current, err = c.newMasterKey(hasLog)
	}
	if err != nil {
		return m, err
	}
	for _, other := range []struct {
		name, text, suffix string
		to                 *[]keyring.MasterKey
	}{
		{"ROLLCALL_OLD_MASTER_KEY", c.OldMasterKey, oldSuffix, &m.old},
		{"ROLLCALL_NEXT_MASTER_KEY", c.NextMasterKey, nextSuffix, &m.next},
	} {
		key, err := readMasterKey(ctx, other.name, other.text, c.masterKeyFile()+other.suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return m, err
		case key.ID() != m.current.ID(): // a rotation that has only begun
			*other.to = append(*other.to, key)
		}
	}
	return m, nil
}

// readMasterKey reads a master key from the environment, or from a file where it is not there. Without either it is fs.ErrNotExist.
func readMasterKey(ctx context.Context, variable, text, file string) (keyring.MasterKey, error) {
	source := variable
	if text == "" {
		var err error
		if text, err = keyring.ReadMasterKeyFile(file); err != nil {
			return keyring.MasterKey{}, err
		}
		source = file
	}
	key, err := kms.Parse(ctx, text)
	if err != nil {
		return key, fmt.Errorf("%s: %w", source, err)
	}
	return key, nil
}

// newMasterKey makes a master key where one may be made.
func (c Config) newMasterKey(hasLog bool) (keyring.MasterKey, error) {
	var none keyring.MasterKey
	switch {
	case c.clustered():
		return none, fmt.Errorf("all instances on a NATS cluster share one master key: give it in ROLLCALL_MASTER_KEY, or put it into %s; "+
			"rollcall keys new prints a new one", c.masterKeyFile())
	case hasLog:
		return none, fmt.Errorf("the master key %s is missing although there is a log; put it back or give it in ROLLCALL_MASTER_KEY, without it no account can be read", c.masterKeyFile())
	}
	key, err := keyring.CreateMasterKey(c.masterKeyFile())
	if errors.Is(err, fs.ErrExist) { // another process is starting on this folder; one of the two will be refused
		return keyring.LoadMasterKey(c.masterKeyFile())
	}
	return key, err
}

// linkKeys returns the secret that download URLs are signed with, and those whose signatures are accepted besides. Instances that share a cluster
// sign alike; those that are on their way to another master key accept what the others have signed.
func (s *Service) linkKeys() (sign []byte, accept [][]byte, err error) {
	if !s.cfg.clustered() {
		sign, err = files.LoadSecret(s.cfg.linkKeyFile())
		return sign, nil, err
	}
	return s.masters.derive("rollcall download urls", files.MinSecretBytes)
}

// derive returns a secret for a purpose, and those that the other master keys give for it.
func (m masterKeys) derive(purpose string, n int) (secret []byte, others [][]byte, err error) {
	if secret, err = m.current.Derive(purpose, n); err != nil {
		return nil, nil, err
	}
	for _, other := range m.others() {
		derived, err := other.Derive(purpose, n)
		if err != nil {
			return nil, nil, err
		}
		others = append(others, derived)
	}
	return secret, others, nil
}

// resealEvery is how often the secrets of webhooks are looked at that instances with an old master key may have sealed.
const resealEvery = 10 * time.Second

// reseal seals the secrets of webhooks anew that an old master key has sealed, until ctx ends.
func (s *Service) reseal(ctx context.Context) error {
	for ctx.Err() == nil {
		apps, _, err := s.list.Apps(ctx)
		for _, app := range apps {
			err = errors.Join(err, s.webhooks.Reseal(ctx, app.ID))
		}
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("the secrets of webhooks could not all be sealed with the new master key, which is tried again", "error", err)
		}
		sleep(ctx, resealEvery)
	}
	return nil
}

// masterKeyUses tells how many blocks of keys each master key wraps.
func (s *Service) masterKeyUses() []httpapi.MasterKey {
	uses := s.keys.MasterKeys()
	all := make([]httpapi.MasterKey, len(uses))
	for i, u := range uses {
		all[i] = httpapi.MasterKey{ID: u.ID, Role: string(u.Role), Blocks: u.Blocks}
	}
	return all
}
