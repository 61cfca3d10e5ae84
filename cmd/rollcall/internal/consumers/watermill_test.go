package consumers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/handlers/messaging"
)

// completed is what this consumer wants to know of an export: see exportCompleted in asyncapi.yaml.
type completed struct {
	CommandID string `json:"commandid"`
	Data      struct {
		JobID       string `json:"job_id"`
		Format      string `json:"format"`
		Position    int64  `json:"position"`
		Rows        int64  `json:"rows"`
		Bytes       int64  `json:"bytes"`
		SHA256      string `json:"sha256"`
		DownloadURL string `json:"download_url"`
	} `json:"data"`
}

// orders begin the ids of the commands by which this consumer orders. Others order exports of the application too.
const orders = "nightly-"

// errUseless is of an export that will never be of use, however often it is tried.
var errUseless = errors.New("it is passed over")

// warehouse keeps the accounts of the latest export in a database of its own.
type warehouse struct {
	db     *sqlite.Conn
	folder string
	loaded chan completed
}

const schema = `
	CREATE TABLE exports (job_id TEXT PRIMARY KEY, position INTEGER NOT NULL);
	CREATE TABLE accounts (user_id TEXT PRIMARY KEY, nickname TEXT, position INTEGER NOT NULL);`

// handle loads an export. What fails for now, such as when Rollcall cannot be reached, is tried again; what is not for this consumer, or will never be of use, is
// passed over, for it would hold up all that comes behind it.
func (w *warehouse) handle(m *message.Message) error {
	var e completed
	if err := json.Unmarshal(m.Payload, &e); err != nil {
		slog.Error("an event cannot be understood", "error", err)
		return nil
	}
	if !strings.HasPrefix(e.CommandID, orders) || e.Data.Format != "ndjson" {
		return nil
	}
	err := w.take(m.Context(), e)
	if errors.Is(err, errUseless) {
		slog.Error("an export is not loaded", "export", e.Data.JobID, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	select {
	case w.loaded <- e:
	case <-m.Context().Done():
	}
	return nil
}

// take downloads and loads an export.
func (w *warehouse) take(ctx context.Context, e completed) error {
	name := filepath.Join(w.folder, e.Data.JobID)
	if err := fetch(ctx, e, name); err != nil {
		return err
	}
	defer os.Remove(name)
	return w.load(e, name)
}

// fetch downloads a file and compares it with what the event says. The URL needs no token and serves until the file is removed.
func fetch(ctx context.Context, e completed, name string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.Data.DownloadURL, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone: // the file was removed before its time, for an account in it is deleted, or has reached its end
		return fmt.Errorf("%w: the file of export %s: %s", errUseless, e.Data.JobID, resp.Status)
	default:
		return fmt.Errorf("the file of export %s: %s", e.Data.JobID, resp.Status)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), resp.Body)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != e.Data.Bytes || got != e.Data.SHA256 {
		return fmt.Errorf("export %s has %d bytes of SHA-256 %s, want %d of %s", e.Data.JobID, n, got, e.Data.Bytes, e.Data.SHA256)
	}
	return nil
}

// load puts all rows in, in one transaction with the export that they are of. What was loaded already, for events may come twice, is not loaded again, and
// neither is what is older than that.
func (w *warehouse) load(e completed, name string) (err error) {
	defer sqlitex.Save(w.db)(&err)
	if err := sqlitex.Execute(w.db, `INSERT INTO exports SELECT ?1, ?2 WHERE ?2 > (SELECT coalesce(max(position), -1) FROM exports)`, &sqlitex.ExecOptions{Args: []any{e.Data.JobID, e.Data.Position}}); err != nil {
		return err
	}
	if w.db.Changes() == 0 {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	rows := int64(0)
	for d := json.NewDecoder(f); ; rows++ {
		var account struct {
			UserID   string `json:"user_id"`
			Nickname string `json:"nickname"`
		}
		if err := d.Decode(&account); errors.Is(err, io.EOF) {
			break
		} else if err != nil { // the bytes are those that Rollcall wrote
			return fmt.Errorf("%w: export %s: %w", errUseless, e.Data.JobID, err)
		}
		// A file shows one position of the log: what it lacks was not there.
		if err := sqlitex.Execute(w.db, `INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)`, &sqlitex.ExecOptions{Args: []any{account.UserID, account.Nickname, e.Data.Position}}); err != nil {
			return err
		}
	}
	if rows != e.Data.Rows {
		return fmt.Errorf("%w: export %s has %d rows, want %d", errUseless, e.Data.JobID, rows, e.Data.Rows)
	}
	return sqlitex.Execute(w.db, `DELETE FROM accounts WHERE position < ?`, &sqlitex.ExecOptions{Args: []any{e.Data.Position}})
}

// hearing is a watermill Subscriber of what Rollcall tells. A message that is heard has been stored; one that was told while nobody
// listened is not told again, so that a consumer which was away looks at GET /v1/apps/demo/exports first, or has a webhook.
type hearing struct{ nc *nats.Conn }

// Subscribe implements message.Subscriber.
func (h hearing) Subscribe(ctx context.Context, subject string) (<-chan *message.Message, error) {
	sub, err := h.nc.SubscribeSync(subject)
	if err != nil {
		return nil, err
	}
	// Whoever orders an export when this has returned hears of its end.
	if err := h.nc.FlushWithContext(ctx); err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
		for {
			m, err := sub.NextMsgWithContext(ctx)
			if err != nil {
				return
			}
			for !hand(ctx, out, m.Data) {
				if ctx.Err() != nil {
					return
				}
			}
		}
	}()
	return out, nil
}

// hand hands a message to the router and tells whether that has dealt with it.
func hand(ctx context.Context, out chan<- *message.Message, data []byte) bool {
	m := message.NewMessage(watermill.NewUUID(), data)
	m.SetContext(ctx)
	select {
	case out <- m:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.Acked():
		return true
	case <-m.Nacked(): // the router has given up for now
	case <-ctx.Done():
	}
	return false
}

// Close implements message.Subscriber; contexts end subscriptions.
func (hearing) Close() error { return nil }

// consumeWithWatermill orders an export by message and loads its file when it is there.
func consumeWithWatermill(ctx context.Context, url, token, folder string) (err error) {
	nc, err := nats.Connect(url, nats.UserInfo("token", token))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	db, err := sqlite.OpenConn(filepath.Join(folder, "warehouse.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := sqlitex.ExecuteScript(db, schema, nil); err != nil {
		return err
	}

	w := &warehouse{db: db, folder: folder, loaded: make(chan completed, 1)}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router.AddMiddleware(middleware.Retry{MaxRetries: 5, InitialInterval: 100 * time.Millisecond, Multiplier: 2}.Middleware)
	router.AddConsumerHandler("warehouse", "accounts.export.demo.*.completed", hearing{nc}, w.handle)
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	defer func() { err = errors.Join(err, router.Close(), <-ended) }()
	select {
	case <-router.Running():
	case <-ctx.Done():
		return ctx.Err()
	}

	// The id of the message is the id of the command: sent again, it orders nothing more. The first one is somebody else's.
	publisher := messaging.NewPublisher(js, messaging.PublisherConfig{})
	for _, order := range []*message.Message{
		message.NewMessage("for-the-auditor", []byte(`{"format": "csv"}`)),
		message.NewMessage(orders+"2026-11-25", []byte(`{"format": "ndjson", "fields": ["user_id", "nickname"]}`)),
	} {
		if err := publisher.Publish("accounts.cmd.demo.export", order); err != nil {
			return err
		}
	}
	select {
	case e := <-w.loaded:
		fmt.Printf("the export of %s has %d rows\n", e.CommandID, e.Data.Rows)
	case <-ctx.Done():
		return ctx.Err()
	}
	return sqlitex.Execute(db, `SELECT user_id, nickname FROM accounts ORDER BY user_id`, &sqlitex.ExecOptions{ResultFunc: func(row *sqlite.Stmt) error {
		fmt.Println(row.ColumnText(0), row.ColumnText(1))
		return nil
	}})
}

// A consumer with watermill orders an export by message, receives completed, downloads the file, checks its SHA-256, and loads it into
// a database of its own.
func Example_watermill() {
	against(consumeWithWatermill)

	// Output:
	// the export of nightly-2026-11-25 has 3 rows
	// haru 하루
	// li.na 李娜
	// sora 소라
}
