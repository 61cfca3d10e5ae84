package jetstream

import (
	"crypto/rand"
	"crypto/subtle"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// Permissions are the subjects that a client may use, with the wildcards of
// NATS. The zero value permits nothing; a denial goes before a permission.
type Permissions struct {
	Publish, Subscribe Subjects
}

// Subjects are lists of subjects that are permitted and denied.
type Subjects struct {
	Allow, Deny []string
}

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
	c.RegisterUser(&server.User{Username: user, Permissions: &server.Permissions{
		Publish:   restrict(p.Publish, ownPublish),
		Subscribe: restrict(p.Subscribe, ownSubscribe),
	}})
	return true
}

// restrict turns permitted subjects into those of the server. An empty list of permissions
// would permit everything there.
func restrict(s Subjects, own []string) *server.SubjectPermission {
	if len(s.Allow) == 0 {
		return &server.SubjectPermission{Deny: []string{">"}}
	}
	return &server.SubjectPermission{Allow: slices.Clone(s.Allow), Deny: append(slices.Clone(s.Deny), own...)}
}

// ownPublish and ownSubscribe are the subjects of the process itself. Denied to everyone else.
var (
	ownPublish = []string{
		"accounts.evt.>", "accounts.key.>", "accounts.export.>", "accounts.exportjob.>", "$KV.>", "$SYS.>",
		"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.DELETE.>",
		"$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.MSG.DELETE.>",
		"$JS.API.STREAM.SNAPSHOT.>", "$JS.API.STREAM.RESTORE.>",
		// The keys are in a stream of their own, which nobody else reads either.
		"$JS.API.DIRECT.GET.KEYS", "$JS.API.DIRECT.GET.KEYS.>", "$JS.API.STREAM.MSG.GET.KEYS",
		"$JS.API.CONSUMER.CREATE.KEYS", "$JS.API.CONSUMER.CREATE.KEYS.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.KEYS.>", "$JS.API.CONSUMER.MSG.NEXT.KEYS.>",
		"$JS.API.STREAM.PEER.>", "$JS.API.STREAM.LEADER.>", "$JS.API.ACCOUNT.>", "$JS.API.META.>", "$JS.API.SERVER.>",
	}
	ownSubscribe = []string{"accounts.key.>", "$SYS.>"}
)
