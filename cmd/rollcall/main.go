// Command rollcall is the account service and its command line in one binary.
//
// It owns the flags, what is printed and the exit status; what the service consists
// of is wired in internal/service, and the command line reaches it only by
// HTTP. Nothing may import it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever reads the output may have had enough; what is under way is still ended in order.
	signal.Ignore(syscall.SIGPIPE)
	// The first signal asks to finish; with the handler gone, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	code := Run(ctx, os.Args[1:], os.LookupEnv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
