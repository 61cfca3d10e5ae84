package consumers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/handlers/messaging"
)

func TestTheConsumerIsNotHeldUpByWhatItCannotLoad(t *testing.T) {
	if err := serve(t.Context(), func(ctx context.Context, url, token, folder string) error {
		nc, err := nats.Connect(url, nats.UserInfo("token", token))
		if err != nil {
			return err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		told, err := nc.SubscribeSync("accounts.export.demo.*.completed")
		if err != nil {
			return err
		}
		order := func(command, format string) []byte {
			t.Helper()
			if err := messaging.NewPublisher(js, messaging.PublisherConfig{}).Publish("accounts.cmd.demo.export", message.NewMessage(command, []byte(format))); err != nil {
				t.Fatal(err)
			}
			m, err := told.NextMsg(patience)
			if err != nil {
				t.Fatal(err)
			}
			return m.Data
		}
		others, own := order("for-the-auditor", `{"format": "csv"}`), order(orders+"1", `{"format": "ndjson", "fields": ["user_id", "nickname"]}`)
		var e completed
		if err := json.Unmarshal(own, &e); err != nil {
			return err
		}
		edited := func(edit func(*completed)) []byte {
			changed := e
			edit(&changed)
			b, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}

		db, err := sqlite.OpenConn(filepath.Join(folder, "warehouse.db"))
		if err != nil {
			return err
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := sqlitex.ExecuteScript(db, schema, nil); err != nil {
			return err
		}
		w := &warehouse{db: db, folder: folder, loaded: make(chan completed, 10)}
		for _, c := range []struct {
			what    string
			payload []byte
			loaded  int // accounts that there are then
		}{
			{"what is no event", []byte("what"), 0},
			{"somebody else's export", others, 0},
			{"an export in another format", edited(func(e *completed) { e.Data.Format = "csv" }), 0},
			{"a file that has been removed", edited(func(e *completed) {
				e.Data.DownloadURL = strings.Replace(e.Data.DownloadURL, "accounts-demo", "accounts-nemo", 1)
			}), 0},
			{"a file with fewer rows", edited(func(e *completed) { e.Data.Rows++ }), 0},
			{"its own export", own, 3},
			{"the same again", own, 3},
			{"an older one", edited(func(e *completed) { e.Data.JobID, e.Data.Position = "older", e.Data.Position-1 }), 3},
		} {
			if err := w.handle(message.NewMessage("m", c.payload)); err != nil {
				t.Errorf("%s is tried again: %v", c.what, err)
			}
			n, err := sqlitex.ResultInt(db.Prep(fmt.Sprint("SELECT count(*) FROM accounts WHERE position = ", e.Data.Position)))
			if err != nil || n != c.loaded {
				t.Errorf("after %s there are %d accounts (%v), want %d", c.what, n, err, c.loaded)
			}
		}
		away := edited(func(e *completed) { e.Data.DownloadURL = "http://127.0.0.1:1/" })
		if err := w.handle(message.NewMessage("m", away)); err == nil {
			t.Error("an export that cannot be fetched for now is passed over")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
