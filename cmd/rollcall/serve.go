package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"rollcall/cmd/rollcall/internal/service"
	"rollcall/cmd/rollcall/internal/telemetry"
	"rollcall/handlers/export"
)

// gcPercent is how much garbage there may be beside what is in use. The log's server
// keeps ten seconds of events in memory; as much garbage again costs more than collecting it, which
// takes some 5 percent of an import.
const gcPercent = 30

// serveCmd serves accounts.
type serveCmd struct {
	Data        string        `help:"Folder that everything is kept in." default:"./data" placeholder:"DIR"`
	Listen      string        `help:"Address of the HTTP API." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	NATSListen  string        `name:"nats-listen" help:"Address for NATS clients; empty for none." default:"127.0.0.1:4222" placeholder:"HOST:PORT"`
	NATS        string        `name:"nats" help:"Addresses of a NATS cluster that keeps the log, such as nats://10.0.0.1:4222,nats://10.0.0.2:4222. Default: a server in the process." placeholder:"URLS"`
	Cluster     natsFlags     `embed:"" prefix:"nats-"`
	DB          string        `name:"db" help:"PostgreSQL database that holds the account list, such as postgres://rollcall@10.0.0.9/rollcall; PGPASSWORD is its password. Default: a file in the data folder." placeholder:"URL"`
	Exports     string        `help:"Where export files are kept, such as file:///srv/exports or s3://exports?region=eu-central-1. Default: in the data folder." placeholder:"URL"`
	FileLife    time.Duration `name:"exports-life" help:"How long the file of an export is kept, a minute to 168h." default:"24h" placeholder:"DURATION"`
	MaxLive     int           `name:"exports-max-live" help:"How many exports of an application may wait, run or have a file at once; 0 for any number." default:"100" placeholder:"N"`
	AtOnce      int           `name:"exports-at-once" help:"How many exports this instance works on at once." default:"2" placeholder:"N"`
	MaxBytes    int64         `name:"exports-max-bytes" help:"How many bytes the export files of an application may have together; 0 for any number." default:"53687091200" placeholder:"BYTES"`
	OnDelete    string        `name:"exports-on-delete" help:"What becomes of an export whose file may hold an account that is deleted. The file is removed at once; then the export expires (remove), or its file is made again without the account (rebuild)." enum:"remove,rebuild" default:"remove" placeholder:"remove|rebuild"`
	Private     bool          `name:"webhooks-allow-private" help:"Let webhooks have addresses that are not public, and http."`
	PublicURL   string        `name:"public-url" help:"Address that download URLs begin with, where it is not that of --listen." placeholder:"URL"`
	OpenMetrics bool          `help:"Let anyone read /metrics, which otherwise takes an operator's token."`
	StopTimeout time.Duration `help:"How long requests in flight may take once the service is told to stop." default:"30s"`
	LogLevel    slog.Level    `help:"debug, info, warn or error. Requests are logged at info." default:"warn"`
	LogFormat   string        `help:"text or json." enum:"text,json" default:"text"`
}

// Help tells about secrets, which are no flags: anyone on the machine can see those.
func (c *serveCmd) Help() string {
	return "ROLLCALL_OPERATOR_TOKEN sets the operator's token and ROLLCALL_MASTER_KEY (64 hexadecimal digits) the key that wraps the keys of the accounts. " +
		"Without them the first start makes both and keeps them in the data folder, as operator.token and master.key. " +
		"A backup needs master.key, kept apart from the data. ROLLCALL_LEDGER_KEY signs the checkpoints of the log; without it the first start makes ledger.key, and " +
		"instances on a cluster derive it from the master key. rollcall keys prints and rotates master keys, also such that AWS KMS has sealed; " +
		"ROLLCALL_OLD_MASTER_KEY or master.key.old is one whose keys are wrapped anew, ROLLCALL_NEXT_MASTER_KEY or master.key.next one that other instances have gone on to.\n\n" +
		"With --nats any number of instances serve one log, with one master key and one operator's token. ROLLCALL_NATS_PASSWORD and ROLLCALL_NATS_LEAF_PASSWORD are the " +
		"passwords of --nats-user and --nats-leaf-user.\n\n" +
		"--exports takes an S3 bucket with the parameters region, endpoint, use_path_style, prefix (which all keys begin with, such as rollcall/), profile, ssetype and kmskeyid, such as " +
		"s3://exports?endpoint=http://127.0.0.1:7070&use_path_style=true&region=us-east-1. Credentials come from the variables, files and roles of AWS, " +
		"such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The folder, or what is below the prefix of a bucket, must be of this Rollcall and its instances alone: they remove files of " +
		"exports there that they do not know. It is marked by rollcall.json, and another Rollcall is refused. The bucket must have no versioning, or it keeps what is removed.\n\n" +
		"Traces are sent by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT says where to, as OpenTelemetry's variables ask.\n\n" +
		"SIGTERM and SIGINT finish what is in flight and stop; a second one stops at once."
}

// Run serves until ctx ends, then stops in order.
func (c *serveCmd) Run(ctx context.Context, s *streams, env lookup) (err error) {
	cfg := service.Config{
		Data: c.Data, Listen: c.Listen, NATSListen: c.NATSListen, DB: c.DB, Exports: c.Exports, PublicURL: c.PublicURL,
		OperatorToken: env.text("ROLLCALL_OPERATOR_TOKEN"), MasterKey: env.text("ROLLCALL_MASTER_KEY"), LedgerKey: env.text("ROLLCALL_LEDGER_KEY"),
		ExportsLife: c.FileLife, ExportsAtOnce: c.AtOnce, ExportQuota: export.Quota{MaxLive: c.MaxLive, MaxBytes: c.MaxBytes}, ExportsOnDelete: export.OnDelete(c.OnDelete), WebhooksAllowPrivate: c.Private,
		OldMasterKey: env.text("ROLLCALL_OLD_MASTER_KEY"), NextMasterKey: env.text("ROLLCALL_NEXT_MASTER_KEY"),
		OpenMetrics: c.OpenMetrics, StopTimeout: c.StopTimeout, Version: version, Logger: c.logger(s.err),
	}
	if err := c.Cluster.apply(&cfg, c.NATS, env); err != nil {
		return err
	}
	if c.FileLife < time.Minute || c.FileLife > export.MaxFileLife {
		return usage("--exports-life is %s; want a minute to %s, the longest that a bucket lets a URL serve", c.FileLife, export.MaxFileLife)
	}
	if env.text("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if cfg.Tracing, err = telemetry.Start(ctx, version, cfg.Logger); err != nil {
		return usage("%v", err)
	}
	// What the last requests left behind is sent although ctx has ended. That nobody takes it is no failure of the service.
	defer func() {
		if err := cfg.Tracing.Stop(context.WithoutCancel(ctx)); err != nil {
			cfg.Logger.Warn("some traces are lost", "error", err)
		}
	}()
	svc, err := service.Start(ctx, cfg)
	if err != nil {
		return fmt.Errorf("the service did not start: %w", err)
	}
	// The service is stopped in order although ctx has ended.
	defer func() { err = errors.Join(err, svc.Stop(context.WithoutCancel(ctx))) }()
	c.greet(s.out, svc)
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.out, "stopping: requests in flight are finished")
	case <-svc.Done(): // Stop tells why
	}
	return nil
}

// greet tells where everything is. What is secret of it is good for ten minutes and once: the link to the console, where this is the only
// instance, for others would not know it.
func (c *serveCmd) greet(w io.Writer, svc *service.Service) {
	page := svc.ConsoleURL()
	if c.NATS == "" {
		page = svc.SignInURL() + "  (signs you in once, within ten minutes)"
	}
	fmt.Fprintf(w, "Rollcall %s serves accounts.\n", version)
	for _, line := range [][2]string{
		{"console", page},
		{"API", svc.URL() + "/v1"},
		{"documentation", svc.URL() + "/docs"},
		{"NATS", svc.NATSURL()},
		{"operator's token", svc.OperatorTokenSource()},
		{"data", svc.Data()},
	} {
		if line[1] == "" {
			line[1] = "not served"
		}
		fmt.Fprintf(w, "  %-17s %s\n", line[0], line[1])
	}
}

func (c *serveCmd) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(telemetry.LogHandler(slog.NewJSONHandler(w, opts)))
	}
	return slog.New(telemetry.LogHandler(slog.NewTextHandler(w, opts)))
}
