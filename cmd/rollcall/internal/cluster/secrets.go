package cluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"rollcall/eventstore/keyring"
	"rollcall/handlers/access"
)

// The files of secrets, each readable by its owner alone.
const (
	operatorTokenFile = "operator.token"
	masterKeyFile     = "master.key"
	passwordsFile     = "passwords.json"
)

// secrets are what the parts know each other by. They are made once.
type secrets struct {
	OperatorToken string `json:"-"`
	MasterKey     string `json:"-"`
	NATS          string `json:"nats"`
	Leaf          string `json:"nats_leaf"`
	Route         string `json:"nats_route"`
	Admin         string `json:"nats_admin"`
	Postgres      string `json:"postgres"`
}

// loadSecrets returns the secrets in a folder, and makes those that are not there.
func loadSecrets(folder string) (s secrets, err error) {
	if s, err = loadPasswords(filepath.Join(folder, passwordsFile)); err != nil {
		return s, err
	}
	if s.OperatorToken, _, err = access.LoadOrCreateOperatorToken(filepath.Join(folder, operatorTokenFile)); err != nil {
		return s, err
	}
	key := filepath.Join(folder, masterKeyFile)
	if _, err := keyring.CreateMasterKey(key); err != nil && !errors.Is(err, fs.ErrExist) {
		return s, err
	}
	text, err := os.ReadFile(key)
	if err != nil {
		return s, fmt.Errorf("read the master key: %w", err)
	}
	s.MasterKey = strings.TrimSpace(string(text))
	return s, nil
}

func loadPasswords(file string) (s secrets, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createPasswords(file)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read the passwords of the cluster: %s: %w", file, err)
	}
	return s, nil
}

// createPasswords makes passwords that stand in an address and in a configuration as they are: letters and digits, a letter first.
func createPasswords(file string) (secrets, error) {
	password := func() string { return "p" + rand.Text() }
	s := secrets{NATS: password(), Leaf: password(), Route: password(), Admin: password(), Postgres: password()}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, fmt.Errorf("make the passwords of the cluster: %w", err)
	}
	// Whole or not at all: parts that have been set up with other passwords would never be reached again.
	part := file + ".part"
	if err := errors.Join(os.WriteFile(part, append(b, '\n'), 0o600), os.Rename(part, file)); err != nil {
		return s, fmt.Errorf("keep the passwords of the cluster: %w", err)
	}
	return s, nil
}
