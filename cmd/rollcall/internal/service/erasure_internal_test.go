package service

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore"
	"rollcall/eventstore/keyring"
	"rollcall/eventstore/storetest"
)

// needle is something that must be in no file, in every form that a file may have it in.
type needle struct {
	name  string
	forms [][]byte
}

func needleOf(name string, value []byte) needle {
	n := needle{name: name, forms: [][]byte{value, []byte(hex.EncodeToString(value)), []byte(strings.ToUpper(hex.EncodeToString(value))), escaped(value)}}
	// Within longer base64, what stands at an offset of 0, 1 or 2 looks different; its inner part is always there.
	for offset := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, offset), value...))
			n.forms = append(n.forms, []byte(text[(offset*8+5)/6:len(text)-1]))
		}
	}
	return n
}

// escaped writes a text as JSON with every character escaped that can be.
func escaped(value []byte) []byte {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(string(value))) {
		if u < 0x80 {
			b.WriteByte(byte(u))
		} else {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return []byte(b.String())
}

// opened returns what bytes hold: themselves, and what is compressed in them.
func opened(content []byte) [][]byte {
	all := [][]byte{content}
	if r, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
		plain, _ := io.ReadAll(r) // what can be read counts
		all = append(all, plain)
	}
	if r, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err == nil {
		for _, f := range r.File {
			if part, err := f.Open(); err == nil {
				plain, _ := io.ReadAll(part)
				all = append(all, plain)
			}
		}
	}
	if r, err := zstd.NewReader(nil); err == nil {
		defer r.Close()
		magic := []byte{0x28, 0xb5, 0x2f, 0xfd} // of a frame, also within a file, such as a page of parquet
		for rest := content; ; rest = rest[len(magic):] {
			i := bytes.Index(rest, magic)
			if i < 0 {
				break
			}
			rest = rest[i:]
			if err := r.Reset(bytes.NewReader(rest)); err == nil {
				plain, _ := io.ReadAll(r)
				all = append(all, plain)
			}
		}
	}
	return all
}

// search returns where needles are found below a folder, as "file: name".
func search(t *testing.T, folder string, needles []needle) (found []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return gone(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return gone(err)
		}
		name, _ := filepath.Rel(folder, path)
		for _, plain := range opened(content) {
			for _, n := range needles {
				if slices.ContainsFunc(n.forms, func(form []byte) bool { return bytes.Contains(plain, form) }) {
					found = append(found, name+": "+n.name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// gone lets pass that a file was removed during a search.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// accountKey returns the bytes of a key, unwrapped by hand.
func accountKey(t *testing.T, s *Service, keyID string) []byte {
	t.Helper()
	block, slot, _ := strings.Cut(keyID, ".")
	n, err := strconv.Atoi(slot)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "accounts.key."+block)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.cfg.masterKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	master, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := aes.NewCipher(master)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(c)
	if err != nil {
		t.Fatal(err)
	}
	const head, size = 9, 32
	id := ulid.MustParse(block)
	aad := append(append([]byte("rollcall block of keys"), msg.Data[:head]...), id[:]...)
	plain, err := aead.Open(nil, nil, msg.Data[head:], aad)
	if err != nil {
		t.Fatal(err)
	}
	slots := int(plain[0])<<8 | int(plain[1])
	return plain[2+(slots+7)/8+n*size:][:size]
}

// searched is a service whose folder is searched, and its clients.
type searched struct {
	*Service
	api *client.Client
	js  natsjs.JetStream // of an operator's token, which publishes commands
}

func newSearched(t *testing.T) *searched {
	t.Helper()
	s, err := Start(t.Context(), Config{Data: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(t.Context()) }) // the test stops it itself
	api, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.NATSURL(), nats.Token(s.OperatorToken()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &searched{s, api, js}
}

// last returns the position of the latest event.
func (s *searched) last(t *testing.T) uint64 {
	t.Helper()
	last, err := s.store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return uint64(last)
}

// send publishes a command and waits for what becomes of it.
func (s *searched) send(t *testing.T, verb, id, body, want string) {
	t.Helper()
	if _, err := s.js.Publish(t.Context(), "accounts.cmd.demo."+verb, []byte(body), natsjs.WithMsgID(id)); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "command "+id+" is "+want, func() bool {
		o, err := s.api.Outcome(t.Context(), "demo", id)
		return err == nil && o.Status == want
	})
}

// export has all accounts exported in each format and compression, and those that a search finds.
func (s *searched) export(t *testing.T, nickname string) {
	t.Helper()
	orders := []client.ExportOrder{{Format: "csv", Filter: &client.ExportFilter{Text: nickname}}}
	for _, format := range []string{"csv", "ndjson", "xlsx", "parquet"} {
		for _, compression := range []string{"none", "gzip", "zstd"} {
			if format != "xlsx" || compression == "none" {
				orders = append(orders, client.ExportOrder{Format: format, Compression: compression})
			}
		}
	}
	for _, o := range orders {
		e, err := s.api.CreateExport(t.Context(), "demo", o)
		if err != nil {
			t.Fatal(err)
		}
		done, err := s.api.WatchExport(t.Context(), "demo", e.ID, func(client.Export) error { return nil })
		if err != nil || done.Status != "completed" {
			t.Fatalf("export %+v is %s: %v", o, done.Status, err)
		}
	}
}

// TestNothingOfAnErasedAccountIsInAnyFileOfTheDataFolder creates accounts in every way, exports, edits and searches them, deletes them, and
// searches every file for their values and keys, while their history still tells what happened.
func TestNothingOfAnErasedAccountIsInAnyFileOfTheDataFolder(t *testing.T) {
	s := newSearched(t)
	values := map[string]string{
		"nickname": "별명-Nick<&>-7f3a91", "edited nickname": "두번째-Second-551c0e", "face_url": "https://face.example/pic-c0ffee77.png", "location": "곳-9a1b",
		"self_signature": "서명 🙂 signature-1d2e3f", "commanded nickname": "명령-Command-8812ab", "dead nickname": "죽은-Dead-66aa21", "rejected nickname": "거절-Refused-77b0b1",
		"updated nickname": "고침-Updated-31337c",
	}
	account := map[string]any{
		"user_id": "gone", "nickname": values["nickname"], "face_url": values["face_url"], "location": values["location"], "self_signature": values["self_signature"], "birthday": 19870625,
	}
	if _, err := s.api.CreateAccount(t.Context(), "demo", account); err != nil {
		t.Fatal(err)
	}
	s.send(t, "create", "m1", fmt.Sprintf(`{"user_id": "commanded", "nickname": %q}`, values["commanded nickname"]), "accepted")
	s.send(t, "create", "m2", fmt.Sprintf(`{"user_id": "gone", "nick": %q}`, values["dead nickname"]), "dead")
	s.send(t, "create", "m3", fmt.Sprintf(`{"user_id": "gone", "nickname": %q}`, values["rejected nickname"]), "rejected")
	s.send(t, "edit", "m4", fmt.Sprintf(`{"user_id": "commanded", "nickname": %q}`, values["updated nickname"]), "accepted")
	if _, err := s.api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "kept", "nickname": "kept-nickname-4242"}); err != nil {
		t.Fatal(err)
	}
	s.export(t, values["nickname"])
	if _, err := s.api.EditAccount(t.Context(), "demo", "gone", map[string]any{"nickname": values["edited nickname"]}, 0); err != nil {
		t.Fatal(err)
	}
	if page, err := s.api.Accounts(t.Context(), "demo", client.Listing{Text: values["edited nickname"][:12]}); err != nil || len(page.Accounts) != 1 {
		t.Fatalf("a search finds %+v, %v", page, err)
	}

	var needles []needle
	for name, value := range values {
		needles = append(needles, needleOf(name, []byte(value)))
	}
	for _, user := range []string{"gone", "commanded"} {
		for e, err := range s.store.Load(t.Context(), eventstore.Account("demo", user)) {
			if err != nil {
				t.Fatal(err)
			}
			if e.KeyID != "" {
				needles = append(needles, needleOf("key of "+user, accountKey(t, s.Service, e.KeyID)))
			}
		}
	}
	past := client.Listing{AsOf: strconv.FormatUint(s.last(t), 10), Waits: func(*client.Problem) {}}
	for page, err := range s.api.Pages(t.Context(), "demo", past) {
		if err != nil || len(page.Accounts) != 3 {
			t.Fatalf("the list as of position %s has %+v, %v", past.AsOf, page, err)
		}
	}
	before := search(t, s.Data(), needles)
	for _, where := range []string{"list/accounts.db", "list/asof/", "exports/", "DEAD"} {
		if !slices.ContainsFunc(before, func(f string) bool { return strings.Contains(f, where) }) {
			t.Errorf("before the deletion nothing is found in %s, but in %q", where, before)
		}
	}
	if formats := slices.DeleteFunc(slices.Clone(before), func(f string) bool { return !strings.HasPrefix(f, "exports/") }); len(formats) < 10 {
		t.Errorf("before the deletion only %q are found in exports", formats)
	}

	for _, user := range []string{"gone", "commanded"} {
		if err := s.api.DeleteAccount(t.Context(), "demo", user); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitErased(t, 2)
	if found := search(t, s.Data(), needles); len(found) > 0 {
		t.Errorf("after erasure there are\n%s", strings.Join(found, "\n"))
	}
	if page, err := s.api.Accounts(t.Context(), "demo", past); err != nil || len(page.Accounts) != 3 || page.Accounts[0].Nickname != "" {
		t.Errorf("after erasure the list as of position %s has %+v, %v", past.AsOf, page, err)
	}
	for user, want := range map[string]int{"gone": 4, "commanded": 4} { // with the deletion and the erasure
		n := 0
		for e, err := range s.api.History(t.Context(), "demo", user, false) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; e.CommandID == "" || e.Actor == "" || e.RecordedAt.IsZero() {
				t.Errorf("the history of %s has %+v", user, e)
			}
		}
		if n != want {
			t.Errorf("the history of %s has %d events, want %d", user, n, want)
		}
	}
	if _, err := s.api.Account(t.Context(), "demo", "kept"); err != nil {
		t.Errorf("the account that was not deleted: %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := search(t, s.Data(), needles); len(found) > 0 {
		t.Errorf("once the service has stopped there are\n%s", strings.Join(found, "\n"))
	}
}

// awaitErased waits until accounts are erased and nothing of them remains anywhere.
func (s *searched) awaitErased(t *testing.T, accounts int) {
	t.Helper()
	storetest.Eventually(t, "the accounts are erased", func() bool {
		n := 0
		for e, err := range s.api.Erasures(t.Context(), "demo", func([]client.ErasurePlace) {}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.State == "erased" && len(e.Remains) == 0 {
				n++
			}
		}
		return n == accounts
	})
}
