package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"rollcall/cmd/rollcall/internal/client"
)

// The exit status of the process.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3 // by the service
)

// cli is the grammar of the command line.
type cli struct {
	Config string `help:"Read flags from this JSON file. A flag or its environment variable goes before it." placeholder:"FILE"`

	Serve       serveCmd      `cmd:"" help:"Serve accounts: log, list, HTTP API and exports in one process."`
	Apps        appsCmd       `cmd:"" help:"Applications."`
	Accounts    accountsCmd   `cmd:"" help:"Accounts of an application."`
	Exports     exportsCmd    `cmd:"" help:"Exports of accounts to files."`
	Webhooks    webhooksCmd   `cmd:"" help:"URLs that the events of exports are sent to."`
	Audit       auditCmd      `cmd:"" help:"What happened, and how it was."`
	Projections projectionCmd `cmd:"" help:"What is derived from the log."`
	Commands    commandsCmd   `cmd:"" help:"Commands that were sent as messages."`
	Tokens      tokensCmd     `cmd:"" help:"Tokens that give access."`
	Keys        keysCmd       `cmd:"" help:"The master key, which wraps the keys of the accounts."`
	Health      healthCmd     `cmd:"" help:"Tell whether a service can serve, and otherwise why not."`
	Bench       benchCmd      `cmd:"" help:"Measure this service beside its raw parts, on this machine."`
	Demo        demoCmd       `cmd:"" hidden:"" help:"Run the whole path on sample data."`
	Cluster     clusterCmd    `cmd:"" hidden:"" help:"Run the production shape on this machine: three NATS servers, PostgreSQL, two instances and a proxy."`
	NATSServer  natsServerCmd `cmd:"" hidden:"" name:"nats-server" help:"Run a NATS server."`
	Version     versionCmd    `cmd:"" help:"Print the version."`
}

// streams are what a command reads from and writes to.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Run runs one command line and returns the exit status. It ends early, and cleanly,
// when ctx is cancelled. The environment is read through env alone, which is like os.LookupEnv.
func Run(ctx context.Context, args []string, env func(string) (string, bool), stdin io.Reader, stdout, stderr io.Writer) int {
	var grammar cli
	exited := -1
	set := &settings{env: env}
	parser, err := kong.New(&grammar,
		kong.Name("rollcall"),
		kong.Description("An event-sourced account service.\n\nExit status: 0 done, 1 failed, 2 wrong usage, 3 refused by the service."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.PostBuild(set.learn),
		kong.ValueFormatter(set.describe),
		kong.Resolvers(set),
		kong.Bind(set),
	)
	if err != nil {
		fmt.Fprintln(stderr, "rollcall:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // help was asked for, and printed
		return exited
	}
	if err == nil {
		parsed.BindTo(ctx, (*context.Context)(nil))
		err = parsed.Run(&streams{in: stdin, out: stdout, err: stderr}, lookup(env))
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, syscall.EPIPE): // nobody reads on, so nobody is told
		return exitFailed
	}
	fmt.Fprintln(stderr, "rollcall:", oneLine(err))
	return exitStatus(err)
}

// lookup reads the environment.
type lookup func(string) (string, bool)

// text returns the value of a variable, the empty one also where it is not set.
func (l lookup) text(name string) string {
	v, _ := l(name)
	return v
}

// usageError is a command line that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func exitStatus(err error) int {
	var parse *kong.ParseError
	var wrong *usageError
	var problem *client.Problem
	switch {
	case errors.As(err, &parse), errors.As(err, &wrong):
		return exitUsage
	case errors.As(err, &problem) && problem.Refused():
		return exitRefused
	}
	return exitFailed
}

// oneLine tells an error in one line.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if errors.Is(err, context.Canceled) {
		text = strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
	}
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		text += "; see rollcall --help"
	}
	return text
}

// versionCmd prints the version.
type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(s *streams) error {
	_, err := fmt.Fprintln(s.out, "rollcall", version)
	return err
}
