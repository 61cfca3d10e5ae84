// Package kms reads master keys that a key management service has sealed. Such a key is kept like a plain one, in a file or the
// environment, but is of no use without the service, which is asked once, at the start.
//
// It owns the text of a sealed key and which services there are: awskms:// (AWS KMS, see https://gocloud.dev/howto/secrets/) and
// base64key:// (a key in the URL itself, for tests and for whoever keeps the two parts of a text apart). It must never write anything anywhere.
package kms

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"
	_ "gocloud.dev/secrets/localsecrets"

	"rollcall/eventstore/keyring"
)

// Services returns the schemes of the URLs of services.
func Services() []string { return []string{"awskms", "base64key"} }

// ErrService means that a master key could not be unsealed: the service cannot be reached or refused it.
var ErrService = errors.New("the key management service did not unseal the master key")

// Parse reads a master key: 64 hexadecimal digits, or what New returns, which is unsealed by the service that it names.
//
// Errors, which do not repeat the text: keyring.ErrMasterKey; ErrService; the context's.
func Parse(ctx context.Context, text string) (keyring.MasterKey, error) {
	address, sealed, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok {
		return keyring.ParseMasterKey(text)
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(sealed))
	if err != nil {
		return keyring.MasterKey{}, fmt.Errorf("%w: what follows the address of the service is not base64", keyring.ErrMasterKey)
	}
	var plain []byte
	err = use(ctx, address, func(k *secrets.Keeper) (err error) {
		plain, err = k.Decrypt(ctx, data)
		return err
	})
	if err != nil {
		return keyring.MasterKey{}, err
	}
	defer clear(plain)
	return keyring.ParseMasterKey(string(plain))
}

// New makes a master key, has the service at an address seal it, and returns the text to keep.
//
// Errors: ErrService; the context's.
func New(ctx context.Context, address string) (text string, err error) {
	_, key := keyring.NewMasterKey()
	plain := []byte(key)
	defer clear(plain)
	var sealed []byte
	err = use(ctx, address, func(k *secrets.Keeper) (err error) {
		sealed, err = k.Encrypt(ctx, plain)
		return err
	})
	if err != nil {
		return "", err
	}
	return address + " " + base64.StdEncoding.EncodeToString(sealed), nil
}

// use calls f with the keeper at an address. The address may hold a secret, so that errors name its scheme alone.
func use(ctx context.Context, address string, f func(*secrets.Keeper) error) error {
	scheme, _, ok := strings.Cut(address, "://")
	known := false
	for _, s := range Services() {
		known = known || s == scheme
	}
	if !ok || !known || strings.ContainsAny(address, " \t\r\n") {
		return fmt.Errorf("%w: it names no key management service; there are %s", keyring.ErrMasterKey, strings.Join(Services(), ":// and ")+"://")
	}
	keeper, err := secrets.OpenKeeper(ctx, address)
	if err != nil {
		return fmt.Errorf("%w: the address of %s cannot be used", ErrService, scheme)
	}
	defer keeper.Close()
	err = f(keeper)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && scheme == "base64key":
		return fmt.Errorf("%w: the key in the address is another one, or the sealed key was altered", ErrService)
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrService, scheme, err)
	}
	return nil
}
