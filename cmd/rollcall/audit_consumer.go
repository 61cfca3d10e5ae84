package main

import (
	"context"
	"fmt"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

// auditConsumerCmd makes a consumer.
type auditConsumerCmd struct {
	Name string `arg:"" help:"Of the reader, as you like: 1 to 32 of a-z, 0-9 and -. A token has three."`
	From string `help:"The first position, or the time from which on. Default: where the reader is, or the beginning." placeholder:"MOMENT"`
	User string `help:"Only the events of this account." placeholder:"USER-ID"`
	Anew bool   `help:"Forget the reader of that name that there is, and begin again."`
	NATS string `name:"nats" help:"Where the service takes NATS clients." default:"nats://127.0.0.1:4222" placeholder:"URL"`
}

var consumerColumns = []column[client.Consumer]{
	{"stream", func(c client.Consumer) string { return c.Stream }},
	{"consumer", func(c client.Consumer) string { return c.Consumer }},
}

const consumeTimeout = 30 * time.Second

// Run asks for the consumer and prints its name.
func (c *auditConsumerCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if r.App == "" {
		return usage("say which application with --app or ROLLCALL_APP")
	}
	ctx, cancel := context.WithTimeout(ctx, consumeTimeout)
	defer cancel()
	made, err := client.Consume(ctx, c.NATS, r.tokenFor(c.NATS), r.App, client.ConsumerOrder{Name: c.Name, UserID: c.User, From: c.From, Anew: c.Anew})
	if err != nil {
		return err
	}
	if r.Output == "table" {
		fmt.Fprintf(s.err, "read it with the same token, for example: nats --server %s consumer next %s %s --count 10\n", c.NATS, made.Stream, made.Consumer)
	}
	return printAll(s, r.Output, consumerColumns, made)
}
