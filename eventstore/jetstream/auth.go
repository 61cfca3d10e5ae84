package jetstream

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"rollcall/eventstore"
)

// Guest is what a client from outside may do. The zero value is refused.
//
// Every guest has a NATS account of its own. Permissions alone would not do: they do not cover the
// subject that a publication wants its answer on, so that in an account shared with the log, or with other
// clients, whoever may publish anything could lead an answer onto their subjects. From an account of its own, only what is
// listed here leads anywhere, and answers come back into it, whatever subject they were asked for on.
type Guest struct {
	// Name tells who it is: 1 to 64 letters, digits, - and _. Clients with the same name share an account. What
	// a name may do must not change while the server runs.
	Name string
	// Requests are the subjects that it may publish on.
	Requests []Request
	// Hears are the subjects of streams that it may subscribe to, with the wildcards of NATS, besides the answers to its
	// requests. It hears what has been stored, not what has only been published.
	Hears []string
	// Consumers are the names of the pull consumers of the log that it may read by, whether or not they are there. Names are
	// those of one guest alone, and consumers are made by the process: who may say how one is made leads messages anywhere.
	Consumers []string
}

// Request leads from a subject of a guest to one of the process. Both may have the wildcard *, as often and in the same
// order; a To that is the same may also end with >.
type Request struct {
	From, To string // To is From when empty
	Many     bool   // whether there may be several answers
}

// guestPrefix begins the names of the guests' accounts.
const guestPrefix = "GUEST_"

// GuestOf returns the name of the guest whose NATS account it is, as the header Nats-Request-Info
// of a request tells it, or false for any other account.
func GuestOf(account string) (name string, ok bool) {
	if len(account) <= len(guestPrefix) || account[:len(guestPrefix)] != guestPrefix {
		return "", false
	}
	return account[len(guestPrefix):], true
}

// inboxPrefix begins the subjects on which the process itself gets its answers.
const inboxPrefix = "_ROLLCALL"

// guestInbox is where the clients of a guest get their answers.
const guestInbox = "_INBOX.>"

// Authenticate decides who may connect through the listener and what they may do. A client that gives a token
// instead of a user and password comes with an empty user and the token as password.
type Authenticate func(user, password string) (Guest, bool)

// authenticator lets the process itself in by a credential made at start, and
// others as the hook says.
type authenticator struct {
	user, password string
	hook           Authenticate
	door           bool // whether the log is elsewhere

	// mu is held for reading while a client is let in, and for writing while one is thrown out, so that none
	// is let in on the strength of what has just ended.
	mu sync.RWMutex

	making   sync.Mutex // guards what follows, and the making of accounts
	server   *server.Server
	accounts map[string]*server.Account
	exported map[string]bool
}

func newAuthenticator(hook Authenticate, door bool) *authenticator {
	return &authenticator{
		user: "rollcall-" + rand.Text(), password: rand.Text() + rand.Text(), hook: hook, door: door,
		accounts: make(map[string]*server.Account), exported: make(map[string]bool),
	}
}

// serveGuests lets guests in from now on. The server must be running: one that has several accounts at its
// start would keep its streams elsewhere.
func (a *authenticator) serveGuests(s *server.Server) {
	a.making.Lock()
	defer a.making.Unlock()
	a.server = s
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
	a.mu.RLock()
	defer a.mu.RUnlock()
	guest, ok := a.hook(user, password)
	if !ok {
		return false
	}
	guest.Requests = slices.Clip(guest.Requests)
	for _, name := range guest.Consumers {
		guest.Requests = append(guest.Requests, consumerRequests(name, a.door)...)
	}
	account, err := a.account(guest)
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: guest.Name, Account: account, Permissions: guest.permissions()})
	return true
}

// errNoGuests means that guests cannot be let in yet, or not such a one.
var errNoGuests = errors.New("no guest is let in")

// account returns the account of a guest, which it makes the first time.
func (a *authenticator) account(g Guest) (*server.Account, error) {
	a.making.Lock()
	defer a.making.Unlock()
	if a.server == nil || !g.named() {
		return nil, errNoGuests
	}
	if account := a.accounts[g.Name]; account != nil {
		return account, nil
	}
	account, err := a.server.RegisterAccount(guestPrefix + g.Name)
	if err != nil {
		return nil, fmt.Errorf("make an account for %s: %w", g.Name, err)
	}
	inside := a.server.GlobalAccount()
	for _, r := range g.Requests {
		if err := a.lead(account, inside, r); err != nil {
			return nil, fmt.Errorf("let %s publish on %s: %w", g.Name, r.From, err)
		}
	}
	for _, subject := range g.Hears {
		if err := a.let(account, inside, subject); err != nil {
			return nil, fmt.Errorf("let %s hear %s: %w", g.Name, subject, err)
		}
	}
	a.accounts[g.Name] = account
	return account, nil
}

// lead makes what is published in an account arrive inside.
func (a *authenticator) lead(account, inside *server.Account, r Request) error {
	to := r.To
	if to == "" {
		to = r.From
	}
	kind := server.Singleton
	if r.Many {
		kind = server.Streamed
	}
	if !a.exported[to] {
		if err := inside.AddServiceExportWithResponse(to, kind, nil); err != nil {
			return err
		}
		a.exported[to] = true
	}
	return account.AddServiceImport(inside, r.From, to)
}

// let makes what is stored inside on a subject be heard on it in an account.
func (a *authenticator) let(account, inside *server.Account, subject string) error {
	stored := eventstore.StoredPrefix + subject
	if !a.exported[stored] {
		if err := inside.AddStreamExport(stored, nil); err != nil {
			return err
		}
		a.exported[stored] = true
	}
	return account.AddMappedStreamImport(inside, stored, subject)
}

// named tells whether the guest has a name that an account can have.
func (g Guest) named() bool {
	const most = 64
	for _, c := range []byte(g.Name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return g.Name != "" && len(g.Name) <= most
}

// permissions say in the account of the guest what leads out of it, so that anything else is an error to the
// client rather than unheard.
func (g Guest) permissions() *server.Permissions {
	publish := &server.SubjectPermission{Allow: []string{}}
	for _, r := range g.Requests {
		publish.Allow = append(publish.Allow, r.From)
	}
	if len(publish.Allow) == 0 {
		publish.Deny = []string{">"} // to the server, an empty list permits everything
	}
	return &server.Permissions{
		Publish:   publish,
		Subscribe: &server.SubjectPermission{Allow: append(slices.Clone(g.Hears), guestInbox)},
	}
}

// throwOut ends the connections of a guest.
func (a *authenticator) throwOut(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.making.Lock()
	s, known := a.server, a.accounts[name] != nil
	a.making.Unlock()
	if !known {
		return nil
	}
	var connections []uint64
	const page = 1024
	for offset := 0; ; offset += page {
		open, err := s.Connz(&server.ConnzOptions{Username: true, Account: guestPrefix + name, Offset: offset, Limit: page})
		if err != nil {
			return fmt.Errorf("find the connections of %s: %w", name, err)
		}
		for _, c := range open.Conns {
			connections = append(connections, c.Cid)
		}
		if len(open.Conns) < page {
			break
		}
	}
	for _, id := range connections { // once all are known: one that ends moves those behind it to another page
		_ = s.DisconnectClientByID(id) // it may be gone already
	}
	return nil
}
