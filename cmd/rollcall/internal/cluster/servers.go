package cluster

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer returns what makes the process of a NATS server.
func (c *running) natsServer(i int) func() *exec.Cmd {
	var routes []string
	for _, port := range c.cfg.Routes {
		routes = append(routes, fmt.Sprintf("nats://route:%s@%s", c.secrets.Route, at(port)))
	}
	name := fmt.Sprintf("nats%d", i+1)
	env := append(os.Environ(),
		"ROLLCALL_NATS_NAME="+name,
		"ROLLCALL_NATS_LISTEN="+at(c.cfg.NATS[i]),
		"ROLLCALL_NATS_LEAF="+at(c.cfg.Leafs[i]),
		"ROLLCALL_NATS_ROUTE="+at(c.cfg.Routes[i]),
		"ROLLCALL_NATS_ROUTES=["+strings.Join(routes, ", ")+"]",
		"ROLLCALL_NATS_MONITOR="+at(c.cfg.Monitor[i]),
		"ROLLCALL_NATS_STORE="+c.path(name),
		"ROLLCALL_NATS_PASSWORD="+c.secrets.NATS,
		"ROLLCALL_NATS_LEAF_PASSWORD="+c.secrets.Leaf,
		"ROLLCALL_NATS_ROUTE_PASSWORD="+c.secrets.Route,
		"ROLLCALL_NATS_ADMIN_PASSWORD="+c.secrets.Admin,
	)
	return func() *exec.Cmd {
		cmd := exec.Command(c.cfg.Program, "nats-server", c.cfg.NATSConf)
		cmd.Env = env
		return cmd
	}
}

// instance returns what makes the process of an instance of the service. What is not said here is as the environment
// has it, such as ROLLCALL_LOG_LEVEL.
func (c *running) instance(i int) func() *exec.Cmd {
	addresses := func(ports []int) string {
		var all []string
		for _, port := range ports {
			all = append(all, "nats://"+at(port))
		}
		return strings.Join(all, ",")
	}
	args := []string{
		"serve", "--data", c.path("instance" + strconv.Itoa(i+1)), "--listen", at(c.cfg.API[i]), "--nats-listen", at(c.cfg.Doors[i]),
		"--nats", addresses(c.cfg.NATS), "--nats-leaf", addresses(c.cfg.Leafs),
		"--db", c.db.url(), "--exports", (&url.URL{Scheme: "file", Path: c.path("exports")}).String(), "--public-url", "http://" + c.cfg.Listen,
	}
	env := append(os.Environ(),
		"ROLLCALL_OPERATOR_TOKEN="+c.secrets.OperatorToken,
		"ROLLCALL_MASTER_KEY="+c.secrets.MasterKey,
		"ROLLCALL_NATS_PASSWORD="+c.secrets.NATS,
		"ROLLCALL_NATS_LEAF_PASSWORD="+c.secrets.Leaf,
		"PGPASSWORD="+c.secrets.Postgres,
	)
	return func() *exec.Cmd {
		cmd := exec.Command(c.cfg.Program, args...)
		cmd.Env = env
		return cmd
	}
}

// ServeNATS runs a NATS server as a configuration file says, until ctx ends.
func ServeNATS(ctx context.Context, file string) error {
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		return fmt.Errorf("configure the NATS server: %w", err)
	}
	opts.NoSigs, opts.Logtime = true, true // signals to the process end ctx
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("start the NATS server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.WaitForShutdown()
	}()
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		return fmt.Errorf("the NATS server has stopped by itself; see its log")
	}
}
