package codec_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

var writeGolden = flag.Bool("write-golden", false, "write golden files that do not exist yet; existing ones are never overwritten")

// fixedSealer seals with a key of its own for each key id and a fixed nonce, so that
// golden files are reproducible. Destroyed ids unseal no more.
type fixedSealer struct{ destroyed map[string]bool }

func (fixedSealer) aead(keyID string) cipher.AEAD {
	key := make([]byte, 32)
	copy(key, keyID)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

func (s fixedSealer) Seal(_ context.Context, keyID string, plaintext, aad []byte) ([]byte, error) {
	return s.aead(keyID).Seal(nil, make([]byte, 12), plaintext, aad), nil
}

func (s fixedSealer) Unseal(_ context.Context, keyID string, sealed, aad []byte) ([]byte, error) {
	if s.destroyed[keyID] {
		return nil, eventstore.ErrKeyDestroyed
	}
	return s.aead(keyID).Open(nil, make([]byte, 12), sealed, aad)
}

var at = time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.UTC)

var full = domain.Profile{
	Nickname: "김하늘 <b>&", FaceURL: "https://example.com/a.png?x=1&y=2", Gender: domain.GenderFemale, Birthday: 20000229,
	Location: "서울", SelfSignature: "🙂\n", AllowType: domain.AllowNeedConfirm, Language: domain.Num(0), MsgSettings: domain.Num(1),
	AdminForbidType: domain.ForbidSendOut, Level: domain.Num(4294967295), Role: domain.Num(2),
}

// examples has one event for every type and, where it matters, form.
var examples = map[string]domain.Event{
	"app.created.v1":           domain.AppCreated{App: "chat", Name: "Chat", MaxAdmins: 10, At: at},
	"app.edited.v1":            domain.AppEdited{App: "chat", Name: "Talk", MaxAdmins: 0, At: at},
	"admin_limit.set.v1":       domain.AdminLimitSet{App: "chat", Limit: 10, At: at},
	"admin_seat.taken.v1":      domain.AdminSeatTaken{App: "chat", UserID: "kim.01", At: at},
	"admin_seat.released.v1":   domain.AdminSeatReleased{App: "chat", UserID: "kim.01", At: at},
	"account.created.v1":       domain.AccountCreated{App: "chat", UserID: "kim.01", Type: domain.TypeAdmin, Profile: full, At: at},
	"account.created.v1-empty": domain.AccountCreated{App: "chat", UserID: "kim.01", Type: domain.TypeNormal, At: at},
	"account.edited.v1": domain.AccountEdited{App: "chat", UserID: "kim.01", At: at, Patch: domain.Patch{
		Fields: domain.FieldsOf(domain.FieldNickname, domain.FieldLevel, domain.FieldRole),
		Values: domain.Profile{Nickname: "하늘", Role: domain.Num(0)},
	}},
	"account.deleted.v1": domain.AccountDeleted{App: "chat", UserID: "kim.01", At: at},
	"account.erased.v1":  domain.AccountErased{App: "chat", UserID: "kim.01", Deletion: 1234567890123, DeletedAt: at.Add(-time.Second), At: at},
}

var meta = codec.Meta{
	EventID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Actor: "console", CommandID: "command-1",
	CausationID: "cause-1", CorrelationID: "group-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}

func TestEveryVersionEverWrittenIsReadAsTheEventOfToday(t *testing.T) {
	c := codec.New(fixedSealer{})
	for name, want := range examples {
		t.Run(name, func(t *testing.T) {
			golden, err := os.ReadFile(filepath.Join("testdata", name+".json"))
			if err != nil {
				t.Fatalf("%v; make it with: go test ./eventstore/codec -write-golden", err)
			}
			env, err := eventstore.Unmarshal([]byte(strings.TrimSpace(string(golden))))
			if err != nil {
				t.Fatal(err)
			}
			got, erased, err := c.Decode(t.Context(), env)
			if err != nil || erased || !reflect.DeepEqual(got, want) {
				t.Errorf("erased %v, error %v\n got %+v\nwant %+v", erased, err, got, want)
			}
		})
	}
	t.Run("no golden file is left without an example", func(t *testing.T) {
		files, err := filepath.Glob("testdata/*.json")
		if err != nil || len(files) != len(examples) {
			t.Errorf("%d files for %d examples, %v", len(files), len(examples), err)
		}
	})
}

func TestEventsAreWrittenAsTheGoldenFilesShow(t *testing.T) {
	c := codec.New(fixedSealer{})
	for name, event := range examples {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".json")
			got := encoded(t, c, event)
			if _, err := os.Stat(path); *writeGolden && errors.Is(err, os.ErrNotExist) {
				if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != strings.TrimSpace(string(want)) {
				t.Errorf("an event that was written differently before needs a new version\n got %s\nwant %s", got, want)
			}
		})
	}
}

func encoded(t *testing.T, c *codec.Codec, event domain.Event) []byte {
	t.Helper()
	env, err := c.Encode(t.Context(), meta, "key-1", event)
	if err != nil {
		t.Fatal(err)
	}
	b, err := eventstore.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPersonalDataIsNotReadableInAnEvent(t *testing.T) {
	c := codec.New(fixedSealer{})
	for _, name := range []string{"account.created.v1", "account.edited.v1"} {
		b := string(encoded(t, c, examples[name]))
		for _, secret := range []string{"하늘", `\ud558`, "example.com", "female", "20000229", "서울", "send_out", "need_confirm"} {
			if strings.Contains(b, secret) {
				t.Errorf("%s shows %q: %s", name, secret, b)
			}
		}
		if !strings.Contains(b, `"fields":"nickname,`) {
			t.Errorf("%s does not name the fields: %s", name, b)
		}
	}
}

func TestAnErasedAccountKeepsItsTrail(t *testing.T) {
	c := codec.New(fixedSealer{})
	env, err := c.Encode(t.Context(), meta, "key-1", examples["account.edited.v1"])
	if err != nil {
		t.Fatal(err)
	}
	got, erased, err := codec.New(fixedSealer{destroyed: map[string]bool{"key-1": true}}).Decode(t.Context(), env)
	edited, ok := got.(domain.AccountEdited)
	if err != nil || !erased || !ok {
		t.Fatalf("%+v, %v, %v", got, erased, err)
	}
	if edited.UserID != "kim.01" || edited.Patch.Values != (domain.Profile{}) || !edited.Patch.Fields.Has(domain.FieldNickname) {
		t.Errorf("%+v", edited)
	}
}

func TestSealedDataCannotBeMovedToAnotherEvent(t *testing.T) {
	c := codec.New(fixedSealer{})
	env, err := c.Encode(t.Context(), meta, "key-1", examples["account.created.v1"])
	if err != nil {
		t.Fatal(err)
	}
	moved := map[string]func(*eventstore.Envelope){
		"to another account": func(e *eventstore.Envelope) { e.Aggregate.Name = "lee" },
		"to another event":   func(e *eventstore.Envelope) { e.ID = "01ARZ3NDEKTSV4RRFFQ69G5FAW" },
		"to another type":    func(e *eventstore.Envelope) { e.Type = codec.TypeAccountEdited },
	}
	for name, move := range moved {
		t.Run(name, func(t *testing.T) {
			e := env
			move(&e)
			if got, _, err := c.Decode(t.Context(), e); err == nil {
				t.Errorf("read %+v", got)
			}
		})
	}
}

func TestAnUnknownTypeOfEventIsNotSkipped(t *testing.T) {
	_, _, err := codec.New(fixedSealer{}).Decode(t.Context(), eventstore.Envelope{Type: "account.created.v2", Position: 7, Data: []byte("{}")})
	if !errors.Is(err, codec.ErrUnknownType) || !strings.Contains(err.Error(), "position 7") {
		t.Error(err)
	}
}

func TestAnEventOfAnAccountNeedsAKey(t *testing.T) {
	_, err := codec.New(fixedSealer{}).Encode(t.Context(), meta, "", examples["account.created.v1"])
	if !errors.Is(err, eventstore.ErrInvalid) {
		t.Error(err)
	}
}

func TestAnyProfileComesBackAsItWas(t *testing.T) {
	c := codec.New(fixedSealer{})
	number := rapid.Custom(func(t *rapid.T) domain.Number {
		if rapid.Bool().Draw(t, "unset") {
			return domain.Number{}
		}
		return domain.Num(rapid.Uint32().Draw(t, "value"))
	})
	rapid.Check(t, func(t *rapid.T) {
		p := domain.Profile{
			Nickname: rapid.String().Draw(t, "nickname"), SelfSignature: rapid.String().Draw(t, "signature"),
			Birthday: rapid.Uint32().Draw(t, "birthday"), Language: number.Draw(t, "language"),
			MsgSettings: number.Draw(t, "settings"), Level: number.Draw(t, "level"), Role: number.Draw(t, "role"),
		}
		want := domain.AccountEdited{
			App: "chat", UserID: domain.UserID(rapid.StringMatching(`[!-~]{1,32}`).Draw(t, "user")), At: at,
			Patch: domain.Patch{Fields: domain.Fields(rapid.Uint32Range(1, 1<<20).Draw(t, "fields"))&domain.ProfileFields | p.Set(), Values: p},
		}
		env, err := c.Encode(context.Background(), meta, "key-1", want)
		if err != nil {
			t.Fatal(err)
		}
		b, err := eventstore.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		back, err := eventstore.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		got, erased, err := c.Decode(context.Background(), back)
		if err != nil || erased || !reflect.DeepEqual(got, want) {
			t.Fatalf("error %v\n got %+v\nwant %+v", err, got, want)
		}
	})
}
