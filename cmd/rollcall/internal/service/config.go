package service

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"rollcall/cmd/rollcall/internal/telemetry"
	"rollcall/eventstore/jetstream"
	"rollcall/handlers/access"
	"rollcall/handlers/export"
	"rollcall/handlers/messaging"
)

// Config tells where a service keeps its data and how it is reached.
type Config struct {
	// Data is the folder that everything is kept in. It is created when absent, for its owner alone.
	Data string
	// Listen is the host:port of the HTTP API, port 0 for any free one.
	Listen string
	// NATSListen is the host:port that NATS clients connect to, port 0 for any free one. Empty: nobody can.
	NATSListen string
	// NATS is the cluster that keeps the log, for any number of services. Without addresses, a server in the process keeps it in
	// the data folder.
	NATS jetstream.Cluster
	// Doors are where servers of the cluster take leaf nodes, by which NATS clients of this service reach it. Without addresses
	// there are no NATS clients.
	Doors jetstream.Cluster
	// Replicas is how many servers of the cluster keep a copy of everything: 3 when zero.
	Replicas int
	// OperatorToken is the token that may do everything. Empty: that of the file operator.token in
	// the data folder, which is made at the first start.
	OperatorToken string
	// MasterKey wraps the keys of the accounts: 64 hexadecimal digits, or a key that a key management service has sealed, see package
	// kms. Empty: that of the file master.key in the data folder, which is made at the first start.
	MasterKey string
	// LedgerKey signs the checkpoints of the ledger, as PRIVATE+KEY+name+hash+key. Empty: that of the file ledger.key in the data folder,
	// which is made at the first start; on a cluster one that is derived from the master key, where there is no such file.
	LedgerKey string
	// OldMasterKey has wrapped keys before, which are wrapped anew. Empty: that of the file master.key.old in the data folder, if there is one.
	OldMasterKey string
	// NextMasterKey wraps keys for instances that have gone on to it. Empty: that of the file master.key.next in the data folder, if there is one.
	NextMasterKey string
	// DB is the address of the PostgreSQL database that holds the account list, postgres://user@host/name. Empty: a file in the data
	// folder.
	DB string
	// Exports is the address of the folder or the bucket of export files, such as file:///srv/exports or s3://exports?region=eu-central-1.
	// Empty: the folder exports in the data folder.
	Exports string
	// ExportsLife is how long the file of an export is kept: export.DefaultFileLife when zero, export.MaxFileLife at most.
	ExportsLife time.Duration
	// ExportsAtOnce is how many exports the instance works on at once: 2 when zero.
	ExportsAtOnce int
	// ExportQuota bounds the live exports of each application. Zero: nothing does.
	ExportQuota export.Quota
	// ExportsOnDelete is what becomes of exports whose files may hold an account that is deleted: export.Remove when empty.
	ExportsOnDelete export.OnDelete
	// WebhooksAllowPrivate lets webhooks have addresses that are not public, and http.
	WebhooksAllowPrivate bool
	// PublicURL is the address that download URLs begin with. Empty: that of Listen.
	PublicURL string
	// OpenMetrics lets anyone read the metrics, who otherwise need an operator's token.
	OpenMetrics bool
	// MaxWaiting is how many commands of one application and verb may wait to be decided, messaging.DefaultMaxWaiting when
	// zero; further ones are refused.
	MaxWaiting int64
	// StopTimeout bounds how long Stop waits for requests in flight, 30 seconds when zero.
	StopTimeout time.Duration
	// Version is shown in the API's description.
	Version string
	// Logger gets what an operator wants to know. Nothing is logged when nil.
	Logger *slog.Logger
	// Tracing gets what is traced. Nothing is when nil. It is stopped after the service.
	Tracing *telemetry.Tracing
}

const (
	defaultStopTimeout = 30 * time.Second
	defaultReplicas    = 3
	folderMode         = 0o700
)

func (c Config) withDefaults() (Config, error) {
	if c.Data == "" {
		return c, errors.New("name the data folder")
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return c, fmt.Errorf("find the data folder: %w", err)
	}
	c.Data = data
	if c.StopTimeout == 0 {
		c.StopTimeout = defaultStopTimeout
	}
	switch {
	case !c.clustered():
		c.Replicas = 1
	case c.Replicas == 0:
		c.Replicas = defaultReplicas
	}
	if c.clustered() && c.Exports == "" {
		return c, errors.New("several instances may serve one log: name with --exports where all of them find export files")
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = messaging.DefaultMaxWaiting
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// clustered tells whether the log is on a cluster, which other instances may use as well.
func (c Config) clustered() bool { return len(c.NATS.URLs) > 0 }

// The places in the data folder.
func (c Config) logFolder() string { return filepath.Join(c.Data, "log") }

// listFile is the list's database. Nothing else in the process may open and close it: that would drop the
// locks that SQLite holds on it.
func (c Config) listFile() string      { return filepath.Join(c.Data, "list", "accounts.db") }
func (c Config) pastFolder() string    { return filepath.Join(c.Data, "list", "asof") }
func (c Config) linkKeyFile() string   { return filepath.Join(c.Data, "exports.key") }
func (c Config) masterKeyFile() string { return filepath.Join(c.Data, "master.key") }

func (c Config) operatorTokenFile() string { return filepath.Join(c.Data, "operator.token") }

// exportsURL returns the address of the store of export files.
func (c Config) exportsURL() string {
	if c.Exports != "" {
		return c.Exports
	}
	return (&url.URL{Scheme: "file", Path: filepath.Join(c.Data, "exports")}).String()
}

// folder makes the data folder.
func (c Config) folder() error {
	for _, dir := range []string{c.Data, filepath.Dir(c.listFile())} {
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
	}
	return nil
}

// hasLog tells whether the data folder holds a log.
func (c Config) hasLog() (bool, error) {
	_, err := os.Stat(filepath.Join(c.logFolder(), "jetstream"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into the data folder: %w", err)
	}
	return true, nil
}

// operatorToken returns the token that may do everything.
func (c Config) operatorToken() (string, error) {
	if c.OperatorToken != "" {
		if err := access.CheckOperatorToken(c.OperatorToken); err != nil {
			return "", fmt.Errorf("ROLLCALL_OPERATOR_TOKEN: %w", err)
		}
		return c.OperatorToken, nil
	}
	token, _, err := access.LoadOrCreateOperatorToken(c.operatorTokenFile())
	return token, err
}
