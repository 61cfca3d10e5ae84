package main

import (
	"context"
	"fmt"
	"os"

	"rollcall/cmd/rollcall/internal/bench"
)

// benchCmd measures the service beside its raw parts.
type benchCmd struct {
	Accounts int     `help:"Accounts in the list that is measured." default:"1000000"`
	Seconds  float64 `help:"How long each rate of commands is measured." default:"3"`
	Cost     bool    `help:"Measure what an account costs in bytes and in memory, and nothing else."`
	Rebuild  bool    `help:"Measure how the list in PostgreSQL is built anew during writes and reads, none of which may fail, beside a bare COPY. It needs --db."`
	DB       string  `name:"db" help:"With --cost and --rebuild: an empty PostgreSQL database to keep the list in. PGPASSWORD is its password." placeholder:"URL"`
}

// Run measures and prints.
func (c benchCmd) Run(ctx context.Context, s *streams) error {
	if c.Accounts < 1 || c.Seconds <= 0 {
		return usage("give at least one account and a time above zero")
	}
	if c.Rebuild && c.DB == "" {
		return usage("--rebuild needs an empty PostgreSQL database: name one with --db")
	}
	if c.Rebuild && c.Cost {
		return usage("--rebuild and --cost measure different things: give one of them")
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return bench.Run(ctx, bench.Options{Binary: binary, Accounts: c.Accounts, Seconds: c.Seconds, Cost: c.Cost, Rebuild: c.Rebuild, DB: c.DB, Out: s.out})
}
