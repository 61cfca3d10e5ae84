package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"rollcall/cmd/rollcall/internal/client"
)

// remote holds the flags of the commands that speak to a service.
type remote struct {
	Server string `help:"Address of the service." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Token  string `help:"Token that gives access. Default: the operator token in the data folder, for a service on this machine."`
	Data   string `help:"Data folder of the service on this machine, for its operator token." default:"./data" placeholder:"DIR"`
	App    string `help:"Application." placeholder:"APP"`
	Output string `help:"How results are printed: table, json (a value a line) or csv." enum:"table,json,csv" default:"table"`
}

// AfterApply offers the flags to the command that runs.
func (r *remote) AfterApply(ctx *kong.Context) error {
	ctx.Bind(r)
	return nil
}

// client returns a client with the rights of the token.
func (r *remote) client() (*client.Client, error) {
	c, err := client.New(r.Server, r.tokenFor(r.Server))
	if err != nil {
		return nil, usage("--server: %v", err)
	}
	return c, nil
}

// tokenFor returns the token for a service at an address.
func (r *remote) tokenFor(address string) string {
	if r.Token != "" || !onThisMachine(address) {
		return r.Token
	}
	// The file is for whoever may read it. Where it cannot be read, the service
	// will ask for a token.
	b, err := os.ReadFile(filepath.Join(r.Data, "operator.token"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// onThisMachine tells whether an address is of loopback. The operator's token is never sent
// elsewhere unless told to.
func onThisMachine(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// app returns a client and the application that is meant.
func (r *remote) app() (*client.Client, string, error) {
	if r.App == "" {
		return nil, "", usage("say which application with --app or ROLLCALL_APP")
	}
	c, err := r.client()
	return c, r.App, err
}

// appOrAll is app, or with all a client and no application.
func (r *remote) appOrAll(all bool) (*client.Client, string, error) {
	if !all {
		return r.app()
	}
	c, err := r.client()
	return c, "", err
}
