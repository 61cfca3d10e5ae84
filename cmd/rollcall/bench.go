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
	DB       string  `name:"db" help:"With --cost: an empty PostgreSQL database to keep the list in. PGPASSWORD is its password." placeholder:"URL"`
}

// Run measures and prints.
func (c benchCmd) Run(ctx context.Context, s *streams) error {
	if c.Accounts < 1 || c.Seconds <= 0 {
		return usage("give at least one account and a time above zero")
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return bench.Run(ctx, bench.Options{Binary: binary, Accounts: c.Accounts, Seconds: c.Seconds, Cost: c.Cost, DB: c.DB, Out: s.out})
}
