// Package cluster runs the production shape on one machine and without containers: three NATS servers, PostgreSQL,
// several instances of the service and a proxy in front of them, each a process of its own but for the proxy.
//
// It owns the folder that all of them keep their data in, their secrets and their processes: it starts them in order, tells of
// one that dies and starts it again, and leaves none behind. It must never do for a part what the part
// does for itself in production; it only sets what an operator would set.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Config tells what a cluster consists of.
type Config struct {
	// Program is the file of rollcall, which is run as NATS server and as instance.
	Program string
	// Folder is where everything is kept, from one run to the next. It is made when absent, for its owner alone.
	Folder string
	// NATSConf is the configuration of the NATS servers.
	NATSConf string
	// Listen is the host:port of the proxy.
	Listen string
	// API and Doors are the ports of the instances, for HTTP and for NATS clients: as many instances as ports.
	API, Doors []int
	// NATS, Leafs and Routes are the ports of the NATS servers: for instances, for their doors, and for each other.
	NATS, Leafs, Routes []int
	// Monitor are the ports where the NATS servers tell how they are.
	Monitor []int
	// Postgres is the port of PostgreSQL.
	Postgres int
	// Restart is how long a part stays away that has died.
	Restart time.Duration
	// Out gets what is running where, Err what has gone wrong.
	Out, Err io.Writer
}

const (
	host         = "127.0.0.1"
	folderMode   = 0o700
	startTimeout = 2 * time.Minute
	stopTimeout  = 40 * time.Second // longer than an instance takes for requests in flight
)

// Run runs the cluster until ctx ends, then stops it in order.
func Run(ctx context.Context, cfg Config) (err error) {
	c, err := prepare(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.db.close()) }()
	proxy, err := startProxy(cfg.Listen, c.urls(), c.tell)
	if err != nil {
		return err
	}
	// The proxy goes first, so that nobody asks parts that are about to stop.
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, proxy.stop(stop), c.stop())
	}()
	if err := c.start(ctx); err != nil {
		return err
	}
	if err := proxy.await(ctx); err != nil {
		return err
	}
	c.greet()
	<-ctx.Done()
	fmt.Fprintln(cfg.Out, "stopping: requests in flight are finished")
	return nil
}

// running is a cluster.
type running struct {
	cfg     Config
	secrets secrets
	db      *postgres
	stages  [][]*part // the parts of one stage start side by side, when those of the stages before are ready

	mu sync.Mutex // for cfg.Err
}

// prepare makes everything that the parts need before they start.
func prepare(ctx context.Context, cfg Config) (*running, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(cfg.Folder)
	if err != nil {
		return nil, fmt.Errorf("find the folder of the cluster: %w", err)
	}
	if cfg.NATSConf, err = filepath.Abs(cfg.NATSConf); err != nil {
		return nil, fmt.Errorf("find the configuration of the NATS servers: %w", err)
	}
	cfg.Folder = folder
	c := &running{cfg: cfg}
	if err := os.MkdirAll(c.path("exports"), folderMode); err != nil {
		return nil, fmt.Errorf("make the folder of the cluster: %w", err)
	}
	if c.secrets, err = loadSecrets(cfg.Folder); err != nil {
		return nil, err
	}
	if c.db, err = openPostgres(ctx, c.path("postgres"), cfg.Postgres, c.secrets.Postgres); err != nil {
		return nil, err
	}
	c.stages = [][]*part{c.stores(), c.instances()}
	return c, nil
}

// check refuses what cannot run: a cluster of another shape, and ports that are taken.
func (c Config) check() error {
	if n := len(c.NATS); n != 3 || len(c.Leafs) != n || len(c.Routes) != n || len(c.Monitor) != n {
		return errors.New("give three ports for the NATS servers, and as many for leaf nodes, for routes and for monitoring")
	}
	if n := len(c.API); n == 0 || len(c.Doors) != n {
		return errors.New("give as many ports for NATS clients as for the API, one an instance")
	}
	for _, ports := range [][]int{c.NATS, c.Leafs, c.Routes, c.Monitor, c.API, c.Doors, {c.Postgres}} {
		for _, port := range ports {
			l, err := net.Listen("tcp", at(port))
			if err != nil {
				return fmt.Errorf("%w; stop what listens there, or choose another port with a flag", err)
			}
			if err := l.Close(); err != nil {
				return fmt.Errorf("look whether port %d is free: %w", port, err)
			}
		}
	}
	return nil
}

func at(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func (c *running) path(name string) string { return filepath.Join(c.cfg.Folder, name) }

// stores returns what keeps the log and the list.
func (c *running) stores() []*part {
	parts := []*part{c.part("postgres", c.db.command, c.db.ready, syscall.SIGINT)} // which ends sessions; SIGTERM waits for them
	for i := range c.cfg.NATS {
		parts = append(parts, c.part(fmt.Sprintf("nats%d", i+1), c.natsServer(i), dial(at(c.cfg.NATS[i])), syscall.SIGTERM))
	}
	return parts
}

func (c *running) instances() []*part {
	var parts []*part
	for i, url := range c.urls() {
		parts = append(parts, c.part(fmt.Sprintf("instance%d", i+1), c.instance(i), answers(url+"/readyz"), syscall.SIGTERM))
	}
	return parts
}

// urls returns the addresses of the instances.
func (c *running) urls() []string {
	var urls []string
	for _, port := range c.cfg.API {
		urls = append(urls, "http://"+at(port))
	}
	return urls
}

// start starts all parts and returns when they are ready.
func (c *running) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, stage := range c.stages {
		for _, p := range stage {
			p.start()
		}
		for _, p := range stage {
			if err := p.await(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// stop stops all parts, those that need others first.
func (c *running) stop() error {
	var all error
	for i := len(c.stages) - 1; i >= 0; i-- {
		for _, p := range c.stages[i] {
			p.stop()
		}
		for _, p := range c.stages[i] {
			all = errors.Join(all, p.wait())
		}
	}
	return all
}

// tell tells an operator of trouble.
func (c *running) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.cfg.Err, format+"\n", args...)
}

// greet tells what runs where. Nothing secret is printed.
func (c *running) greet() {
	out := c.cfg.Out
	fmt.Fprintf(out, "Rollcall runs as in production, on this machine.\n")
	line := func(name, value string) { fmt.Fprintf(out, "  %-17s %s\n", name, value) }
	line("API", "http://"+c.cfg.Listen+"/v1, each request to another instance")
	line("documentation", "http://"+c.cfg.Listen+"/docs")
	for i, p := range c.stages[1] {
		line(p.name, fmt.Sprintf("%s nats://%s process %d", c.urls()[i], at(c.cfg.Doors[i]), p.pid()))
	}
	for i, p := range c.stages[0] {
		where := at(c.cfg.Postgres)
		if i > 0 {
			where = fmt.Sprintf("%s http://%s", at(c.cfg.NATS[i-1]), at(c.cfg.Monitor[i-1]))
		}
		line(p.name, fmt.Sprintf("%s process %d", where, p.pid()))
	}
	line("logs", c.path("*.log"))
	line("operator's token", c.path(operatorTokenFile))
}
