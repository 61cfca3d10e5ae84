package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"rollcall/cmd/rollcall/internal/cluster"
)

// clusterCmd runs the production shape on this machine.
type clusterCmd struct {
	Folder   string        `help:"Folder that everything is kept in." default:"./data/cluster" placeholder:"DIR"`
	NATSConf string        `name:"nats-conf" help:"Configuration of the NATS servers." default:"deployments/nats/nats.conf" type:"existingfile" placeholder:"FILE"`
	Listen   string        `help:"Address of the proxy in front of the instances." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	API      []int         `name:"api-ports" help:"Ports of the instances for HTTP." default:"8081,8082"`
	Doors    []int         `name:"door-ports" help:"Ports of the instances for NATS clients." default:"4222,4223"`
	NATS     []int         `name:"nats-ports" help:"Ports of the NATS servers for instances." default:"4231,4232,4233"`
	Leafs    []int         `name:"leaf-ports" help:"Ports of the NATS servers for the doors." default:"7431,7432,7433"`
	Routes   []int         `name:"route-ports" help:"Ports of the NATS servers for each other." default:"6231,6232,6233"`
	Monitor  []int         `name:"monitor-ports" help:"Ports where the NATS servers tell how they are." default:"8231,8232,8233"`
	Postgres int           `name:"postgres-port" help:"Port of PostgreSQL." default:"5433"`
	Restart  time.Duration `help:"How long a process stays away that has died." default:"5s"`
}

// Run runs the cluster until ctx ends.
func (c *clusterCmd) Run(ctx context.Context, s *streams) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return cluster.Run(ctx, cluster.Config{
		Program: program, Folder: c.Folder, NATSConf: c.NATSConf, Listen: c.Listen, API: c.API, Doors: c.Doors,
		NATS: c.NATS, Leafs: c.Leafs, Routes: c.Routes, Monitor: c.Monitor, Postgres: c.Postgres, Restart: c.Restart,
		Out: s.out, Err: s.err,
	})
}

// natsServerCmd is a NATS server.
type natsServerCmd struct {
	File string `arg:"" help:"Its configuration." type:"existingfile"`
}

// Run serves until ctx ends.
func (c *natsServerCmd) Run(ctx context.Context) error { return cluster.ServeNATS(ctx, c.File) }
