package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore/keyfile"
	"rollcall/eventstore/keyring"
	"rollcall/eventstore/keyring/kms"
)

// keysCmd are the commands on the master key, which wraps the keys of the accounts.
type keysCmd struct {
	remote

	Status keysStatusCmd `cmd:"" help:"Show how many blocks of keys each master key wraps."`
	New    keysNewCmd    `cmd:"" help:"Print a new master key."`
	Rotate keysRotateCmd `cmd:"" help:"Put a new master key in the place of the one in a data folder, which is kept beside it as master.key.old. The next start goes on to it."`
}

// keysStatusCmd shows the master keys.
type keysStatusCmd struct{}

var masterKeyColumns = []column[client.MasterKey]{
	{"id", func(k client.MasterKey) string { return k.ID }},
	{"role", func(k client.MasterKey) string { return k.Role }},
	{"blocks", func(k client.MasterKey) string { return whole(k.Blocks) }},
}

// Run prints the master keys.
func (c *keysStatusCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	all, err := api.MasterKeys(ctx)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, masterKeyColumns, all...)
}

// keysNewCmd prints a new master key.
type keysNewCmd struct {
	KMS string `name:"kms" help:"Have this key management service seal it, such as awskms:///alias/rollcall?region=eu-central-1: whoever has what is printed needs the service to use it." placeholder:"URL"`
}

// Run prints the key.
func (c *keysNewCmd) Run(ctx context.Context, s *streams) error {
	text, err := newMasterKey(ctx, c.KMS)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, text)
	return err
}

// newMasterKey returns a new master key, sealed by the service at an address unless that is empty.
func newMasterKey(ctx context.Context, service string) (string, error) {
	if service != "" {
		return kms.New(ctx, service)
	}
	_, text := keyring.NewMasterKey()
	return text, nil
}

// keysRotateCmd puts a new master key into a data folder.
type keysRotateCmd struct {
	KMS string `name:"kms" help:"Have this key management service seal the new key." placeholder:"URL"`
}

// Run rotates. A crash in between leaves the old key in its place.
func (c *keysRotateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	file := filepath.Join(r.Data, "master.key")
	if _, err := keyring.ReadMasterKeyFile(file); err != nil {
		return err
	}
	text, err := newMasterKey(ctx, c.KMS)
	if err != nil {
		return err
	}
	switch err := keyfile.Replace(file, text+"\n"); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("keep the old master key: %w; a rotation goes on until rollcall keys status shows no blocks under the old key and %s is removed", err, keyfile.Old(file))
	case err != nil:
		return fmt.Errorf("put the new master key in its place: %w", err)
	}
	fmt.Fprintf(s.out, "Restart the service. Once rollcall keys status shows no blocks under the old key, remove %s.\n", keyfile.Old(file))
	return nil
}
