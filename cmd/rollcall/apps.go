package main

import (
	"context"

	"rollcall/cmd/rollcall/internal/client"
)

// appsCmd are the commands on applications.
type appsCmd struct {
	remote

	Create appCreateCmd `cmd:"" help:"Create an application."`
	List   appListCmd   `cmd:"" help:"List the applications."`
	Show   appShowCmd   `cmd:"" help:"Show one application."`
	Edit   appEditCmd   `cmd:"" help:"Change the name of an application or its limit of administrators."`
}

var appColumns = []column[client.App]{
	{"app", func(a client.App) string { return a.App }},
	{"name", func(a client.App) string { return a.Name }},
	{"max_admins", func(a client.App) string { return whole(a.MaxAdmins) }},
	{"created_at", func(a client.App) string { return moment(a.CreatedAt) }},
}

// appCreateCmd creates an application.
type appCreateCmd struct {
	ID        string  `arg:"" name:"app" help:"1 to 32 of a-z, 0-9 and -, not starting with -."`
	Name      *string `help:"Name for people."`
	MaxAdmins *int    `help:"How many administrators it may have; 10 unless told."`
}

// Run creates the application and prints it.
func (c *appCreateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	app, err := api.CreateApp(ctx, client.AppChange{App: c.ID, Name: c.Name, MaxAdmins: c.MaxAdmins})
	if err != nil {
		return err
	}
	return printAll(s, r.Output, appColumns, app)
}

// appListCmd lists the applications.
type appListCmd struct{}

// Run prints the applications.
func (c *appListCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	apps, err := api.Apps(ctx)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, appColumns, apps...)
}

// appName is the application that a command is on: its argument, else --app.
type appName struct {
	ID string `arg:"" name:"app" optional:"" help:"The application; --app unless given."`
}

func (n appName) client(r *remote) (*client.Client, string, error) {
	if n.ID != "" {
		api, err := r.client()
		return api, n.ID, err
	}
	return r.app()
}

// appShowCmd shows an application.
type appShowCmd struct{ appName }

// Run prints the application.
func (c *appShowCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, id, err := c.client(r)
	if err != nil {
		return err
	}
	app, err := api.App(ctx, id)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, appColumns, app)
}

// appEditCmd changes an application.
type appEditCmd struct {
	appName
	Name      *string `help:"Name for people."`
	MaxAdmins *int    `help:"How many administrators it may have."`
}

// Run changes the application and prints it.
func (c *appEditCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if c.Name == nil && c.MaxAdmins == nil {
		return usage("say what to change with --name or --max-admins")
	}
	api, id, err := c.client(r)
	if err != nil {
		return err
	}
	app, err := api.EditApp(ctx, id, client.AppChange{Name: c.Name, MaxAdmins: c.MaxAdmins})
	if err != nil {
		return err
	}
	return printAll(s, r.Output, appColumns, app)
}
