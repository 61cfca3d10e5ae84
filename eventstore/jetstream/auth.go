package jetstream

import (
	"crypto/rand"
	"crypto/subtle"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// Permissions are what a client from outside may do, which is to listen. The zero value
// permits nothing.
//
// There is no permission to publish. Permissions do not cover the subject that a
// publication wants its answer on, and JetStream or whoever answers publishes there with rights of its
// own: a client that may publish anything could lead an acknowledgement onto the log. To let
// clients publish, put them into a NATS account of their own.
type Permissions struct {
	// Subscribe are the subjects that the client may subscribe to, with the wildcards
	// of NATS. Those of the process itself are never heard, whatever is listed here.
	Subscribe []string
}

// inboxPrefix begins the subjects on which the process itself gets its answers. They have
// what is in the log and in the keys, so that they must not be those of any other client.
const inboxPrefix = "_ROLLCALL"

// internal are the subjects that only the process itself listens to.
var internal = []string{inboxPrefix + ".>", "_INBOX.>", "accounts.key.>", "$KV.>", "$JS.>", "$SYS.>"}

// authenticator lets the process itself in by a credential made at start, and
// others as the hook says.
type authenticator struct {
	user, password string
	hook           func(user, password string) (Permissions, bool)
}

func newAuthenticator(hook func(user, password string) (Permissions, bool)) *authenticator {
	return &authenticator{user: "rollcall-" + rand.Text(), password: rand.Text() + rand.Text(), hook: hook}
}

// Check implements server.Authentication.
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	user, password := opts.Username, opts.Password
	if subtle.ConstantTimeCompare([]byte(user), []byte(a.user)) == 1 &&
		subtle.ConstantTimeCompare([]byte(password), []byte(a.password)) == 1 {
		c.RegisterUser(&server.User{Username: user})
		return true
	}
	if user == "" && password == "" {
		password = opts.Token
	}
	if a.hook == nil {
		return false
	}
	p, ok := a.hook(user, password)
	if !ok {
		return false
	}
	c.RegisterUser(&server.User{Username: user, Permissions: p.server()})
	return true
}

// server returns the permissions as the server has them.
func (p Permissions) server() *server.Permissions {
	listen := &server.SubjectPermission{Allow: slices.Clone(p.Subscribe), Deny: internal}
	if len(p.Subscribe) == 0 {
		listen.Deny = []string{">"} // to the server, an empty list permits everything
	}
	return &server.Permissions{
		// The list that permits is there and empty, for a denial matches no malformed subject.
		Publish:   &server.SubjectPermission{Allow: []string{}, Deny: []string{">"}},
		Subscribe: listen,
	}
}
