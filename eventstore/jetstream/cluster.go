package jetstream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Cluster tells how servers outside the process are reached.
type Cluster struct {
	// URLs are the addresses of servers, nats:// or tls://, any of which leads to all.
	URLs []string
	// User and Password are the credentials, unless Credentials names a file that holds them, as nsc makes it.
	User, Password string
	Credentials    string
	// TLS is needed where servers have certificates of an authority of their own, or ask for one of the client.
	TLS *tls.Config
}

// ParseURLs returns the addresses of servers that are listed with commas.
func ParseURLs(list string) ([]string, error) {
	var urls []string
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return nil, errors.New("an address of the NATS cluster is not of the form nats://host:port") // it may hold a password
		case u.User != nil:
			return nil, fmt.Errorf("the address of %s holds credentials; give those in the environment, where nobody else sees them", u.Host)
		}
		urls = append(urls, one)
	}
	return urls, nil
}

// connectTimeout is how long servers are tried at a start.
const connectTimeout = 30 * time.Second

// Connect connects to a cluster and keeps connecting anew for as long as it takes. At first it tries for half a minute, so that
// the process and the servers may start together.
func (c Cluster) Connect(ctx context.Context, logger *slog.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("rollcall"),
		nats.CustomInboxPrefix(inboxPrefix),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.PingInterval(5 * time.Second), // a server that hangs is left after two
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // what cannot be sent is an error at once; those who publish try again
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("the connection to the NATS cluster is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			logger.Warn("the connection to the NATS cluster is back", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("trouble with the NATS cluster", "error", err)
		}),
	}
	switch {
	case c.Credentials != "":
		opts = append(opts, nats.UserCredentials(c.Credentials))
	case c.User != "":
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.TLS != nil {
		opts = append(opts, nats.Secure(c.TLS))
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		nc, err := nats.Connect(strings.Join(c.URLs, ","), opts...)
		if err == nil {
			return nc, nil
		}
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, fmt.Errorf("connect to the NATS cluster: it does not let this process in: %w; check the user and password", err)
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the NATS cluster at %s: %w", strings.Join(c.URLs, ","), err)
		}
	}
}

// leaf returns how a server in the process connects to the cluster.
func (c Cluster) leaf() (*server.RemoteLeafOpts, error) {
	remote := &server.RemoteLeafOpts{Credentials: c.Credentials, TLSConfig: c.TLS, TLS: c.TLS != nil}
	for _, one := range c.URLs {
		u, err := url.Parse(one)
		if err != nil {
			return nil, errors.New("an address for leaf nodes is malformed")
		}
		switch u.Scheme {
		case "nats":
			u.Scheme = "nats-leaf"
		case "tls":
			remote.TLS = true // also where whoever answers does not ask for it
		}
		if c.Credentials == "" && c.User != "" {
			u.User = url.UserPassword(c.User, c.Password)
		}
		remote.URLs = append(remote.URLs, u)
	}
	return remote, nil
}

// Durability is what is known of how the servers of a cluster write to disk.
type Durability struct {
	Asked []string // names of the servers that have told
	Late  []string // those of them that acknowledge before they have written
}

// varzSubject is where all servers tell how they are configured. It is one of the system account.
const varzSubject = "$SYS.REQ.SERVER.PING.VARZ"

// AskDurability asks the servers how they write to disk. Those that do not answer are not in the result: the account needs an import of
// the system account's varz, see deployments/nats.
func AskDurability(ctx context.Context, nc *nats.Conn) (Durability, error) {
	var d Durability
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return d, fmt.Errorf("ask the servers how they write: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be closing
	if err := nc.PublishRequest(varzSubject, inbox, nil); err != nil {
		return d, fmt.Errorf("ask the servers how they write: %w", err)
	}
	// Nobody tells how many there are: the answers end when none has come for a moment.
	for wait := 2 * time.Second; ; wait = 300 * time.Millisecond {
		next, cancel := context.WithTimeout(ctx, wait)
		m, err := sub.NextMsgWithContext(next)
		cancel()
		if err != nil {
			break
		}
		var answer struct {
			Data struct {
				Name      string `json:"server_name"`
				JetStream struct {
					Config *struct {
						SyncAlways bool `json:"sync_always"`
					} `json:"config"`
				} `json:"jetstream"`
			} `json:"data"`
		}
		if json.Unmarshal(m.Data, &answer) != nil || answer.Data.JetStream.Config == nil {
			continue // a server without JetStream writes nothing
		}
		d.Asked = append(d.Asked, answer.Data.Name)
		if !answer.Data.JetStream.Config.SyncAlways {
			d.Late = append(d.Late, answer.Data.Name)
		}
	}
	slices.Sort(d.Asked)
	slices.Sort(d.Late)
	return d, ctx.Err()
}
