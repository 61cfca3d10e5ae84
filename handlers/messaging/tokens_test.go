package messaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/access"
	"rollcall/handlers/messaging"
)

// promptly is how soon a change must be known to other instances.
const promptly = time.Second

var operator = access.Principal{TokenID: "operator", Name: "operator", Role: access.Operator}

// instance is a service over a connection of its own, running until the end of the test.
func instance(t testing.TB, js jetstream.JetStream) *access.Service {
	t.Helper()
	store, err := messaging.OpenTokens(t.Context(), js, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := access.New(store, "operator-token-of-this-test", access.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := s.Wait(wait); err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *access.Service, name string) (string, access.Token) {
	t.Helper()
	secret, tok, err := s.Create(t.Context(), operator, name, access.Viewer, "mine")
	if err != nil {
		t.Fatal(err)
	}
	return secret, tok
}

func good(t testing.TB, s *access.Service, secret string) bool {
	_, err := s.Authenticate(t.Context(), secret)
	if err != nil && !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("authenticate: %v", err)
	}
	return err == nil
}

func TestTokensAreKnownToAllInstancesWithinASecond(t *testing.T) {
	n := newNode(t)
	a, b := instance(t, n.connect(t)), instance(t, n.connect(t))
	for i := range 20 {
		secret, tok := create(t, a, fmt.Sprint("token ", i))
		if took := eventually(t, "the token is good on b", func() bool { return good(t, b, secret) }); took > promptly {
			t.Errorf("a creation was known after %v", took)
		}
		if _, err := a.Revoke(t.Context(), operator, tok.ID); err != nil {
			t.Fatal(err)
		}
		if good(t, a, secret) {
			t.Error("a revoked token is good where it was revoked")
		}
		if took := eventually(t, "the token is revoked on b", func() bool { return !good(t, b, secret) }); took > promptly {
			t.Errorf("a revocation was known after %v", took)
		}
	}
}

func TestATokenIsRevokedByAnInstanceThatHasNotHeardOfIt(t *testing.T) {
	n := newNode(t)
	a := instance(t, n.connect(t))
	secret, tok := create(t, a, "t")
	store, err := messaging.OpenTokens(t.Context(), n.connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	deaf := access.New(store, "", access.Options{}) // it does not run
	if revoked, err := deaf.Revoke(t.Context(), operator, tok.ID); err != nil || revoked.Name != "t" || revoked.RevokedBy != "operator" {
		t.Fatalf("revoke: %+v, %v", revoked, err)
	}
	eventually(t, "the token is revoked on a", func() bool { return !good(t, a, secret) })
	if _, err := deaf.Revoke(t.Context(), operator, "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, access.CodeTokenNotFound) {
		t.Errorf("revoke what does not exist: %v", err)
	}
}

func TestTokensSurviveARestartOfTheServer(t *testing.T) {
	n := newNode(t)
	a, b := instance(t, n.connect(t)), instance(t, n.connect(t))
	kept, _ := create(t, a, "kept")
	gone, tok := create(t, a, "gone")
	eventually(t, "b knows both", func() bool { return good(t, b, kept) && good(t, b, gone) })

	n.stop()
	eventually(t, "b tells that it is cut off", func() bool { return errors.Is(b.Ready(), access.ErrUnavailable) })
	if !good(t, b, kept) {
		t.Error("a token is not good while the server is away")
	}
	n.start(t)
	eventually(t, "both are ready again", func() bool { return errors.Join(a.Ready(), b.Ready()) == nil })

	if _, err := a.Revoke(t.Context(), operator, tok.ID); err != nil {
		t.Fatal(err)
	}
	if took := eventually(t, "the token is revoked on b", func() bool { return !good(t, b, gone) }); took > promptly {
		t.Errorf("a revocation after a restart was known after %v", took)
	}
	c := instance(t, n.connect(t))
	if !good(t, c, kept) || good(t, c, gone) {
		t.Error("an instance that starts knows other tokens than those that were kept")
	}
}

func TestARevocationDuringAnAbsenceIsLearnedAfterIt(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	b := instance(t, js)
	a := instance(t, n.connect(t))
	var secrets []string
	for i := range 10 {
		secret, tok := create(t, a, fmt.Sprint(i))
		eventually(t, "b knows the token", func() bool { return good(t, b, secret) })
		secrets = append(secrets, secret)
		if err := js.Conn().ForceReconnect(); err != nil { // the revocation may come at any moment of it
			t.Fatal(err)
		}
		if _, err := a.Revoke(t.Context(), operator, tok.ID); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "b knows all revocations", func() bool {
		for _, s := range secrets {
			if good(t, b, s) {
				return false
			}
		}
		return true
	})
}

func TestAWatchThatLosesItsConsumerBeginsAnew(t *testing.T) {
	n := newNode(t)
	a := instance(t, n.connect(t))
	js := n.connect(t)
	stream, err := js.Stream(t.Context(), "KV_ROLLCALL_TOKENS")
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	secret, _ := create(t, instance(t, n.connect(t)), "t")
	eventually(t, "the token is good", func() bool { return good(t, a, secret) })
}

func TestManyTokensAreReadAtOnce(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	store, err := messaging.OpenTokens(t.Context(), js, 1)
	if err != nil {
		t.Fatal(err)
	}
	first := instance(t, js)
	secret, tok := create(t, first, "first")
	for i := range 1500 { // past the server's default limit of unacknowledged messages
		r := access.Record{Token: tok, Hash: access.Hash{1}}
		r.ID = fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ69G%04d", i)
		if err := store.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for records, err := range store.Watch(ctx) {
		if err != nil || len(records) != 1501 {
			t.Errorf("the first batch holds %d records, %v", len(records), err)
		}
		break
	}
	s := instance(t, n.connect(t))
	if tokens, err := s.List(t.Context(), operator, "mine"); err != nil || len(tokens) != 1501 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
	if !good(t, s, secret) {
		t.Error("the first token is not good")
	}
}

func TestAKeyThatIsRemovedOrSpoiledByHandMakesARevokedToken(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	a := instance(t, js)
	kv, err := js.KeyValue(t.Context(), "ROLLCALL_TOKENS")
	if err != nil {
		t.Fatal(err)
	}
	put := func(v string) func(string) error {
		return func(id string) error { _, err := kv.PutString(t.Context(), id, v); return err }
	}
	for name, spoil := range map[string]func(id string) error{
		"deleted":         func(id string) error { return kv.Delete(t.Context(), id) },
		"purged":          func(id string) error { return kv.Purge(t.Context(), id) },
		"empty":           put(""),
		"not JSON":        put("x"),
		"another's":       put(`{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","sha256":"` + fmt.Sprintf("%064d", 1) + `"}`),
		"without a hash":  put(`{"id":"ID"}`),
		"with half a one": put(`{"id":"ID","sha256":"00"}`),
	} {
		secret, tok := create(t, a, name)
		if err := spoil(tok.ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+": it is revoked", func() bool { return !good(t, a, secret) })
	}
	eventually(t, "a is ready", func() bool { return instance(t, n.connect(t)).Ready() == nil })
}

func TestNoSecretReachesTheDisk(t *testing.T) {
	n := newNode(t)
	a := instance(t, n.connect(t))
	secret, tok := create(t, a, "a name to be found")
	if _, err := a.Revoke(t.Context(), operator, tok.ID); err != nil {
		t.Fatal(err)
	}
	n.stop()
	found := false
	err := filepath.WalkDir(n.opts.StoreDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(secret[len(secret)-26:])) {
			t.Errorf("%s holds the secret", path)
		}
		found = found || bytes.Contains(b, []byte("a name to be found"))
		return err
	})
	if err != nil || !found {
		t.Errorf("the token itself was not found: %v", err)
	}
}
