package kms_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"rollcall/eventstore/keyring"
	"rollcall/eventstore/keyring/kms"
)

// address returns the address of a service that has a key of its own.
func address(fill byte) string {
	return "base64key://" + base64.URLEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32)))
}

func TestASealedMasterKeyIsReadByTheServiceThatSealedIt(t *testing.T) {
	text, err := kms.New(t.Context(), address('a'))
	if err != nil {
		t.Fatal(err)
	}
	first, err := kms.Parse(t.Context(), text+"\n")
	if err != nil || first.IsZero() {
		t.Fatalf("%v, %v", first, err)
	}
	second, err := kms.Parse(t.Context(), text)
	if err != nil || second.ID() != first.ID() {
		t.Errorf("read again it is %v, %v, want %v", second, err, first)
	}
	another, err := kms.New(t.Context(), address('a'))
	if m, perr := kms.Parse(t.Context(), another); err != nil || perr != nil || m.ID() == first.ID() {
		t.Errorf("another new key is %v, %v, %v", m, err, perr)
	}
	plain := strings.Repeat("5a", 32)
	if m, err := kms.Parse(t.Context(), plain); err != nil || m.IsZero() {
		t.Errorf("a plain key: %v, %v", m, err)
	}
}

func TestAMasterKeyThatCannotBeUnsealedIsRefusedWithoutTellingIt(t *testing.T) {
	text, err := kms.New(t.Context(), address('a'))
	if err != nil {
		t.Fatal(err)
	}
	_, sealed, _ := strings.Cut(text, " ")
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"by another service":     {address('b') + " " + sealed, kms.ErrService},
		"altered":                {address('a') + " " + "AAAA" + sealed[4:], kms.ErrService},
		"no base64":              {address('a') + " !" + sealed, keyring.ErrMasterKey},
		"no such service":        {"vault://key " + sealed, keyring.ErrMasterKey},
		"no address":             {"key " + sealed, keyring.ErrMasterKey},
		"a key that is too weak": {"base64key://c2hvcnQ= " + sealed, kms.ErrService},
		"nothing":                {"", keyring.ErrMasterKey},
	} {
		_, err := kms.Parse(t.Context(), c.text)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		for _, secret := range strings.Fields(c.text) {
			if err != nil && len(secret) > 12 && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells the secret: %v", name, err)
			}
		}
	}
	if _, err := kms.New(t.Context(), "file:///etc"); !errors.Is(err, keyring.ErrMasterKey) {
		t.Errorf("a new key by no service: %v", err)
	}
}
