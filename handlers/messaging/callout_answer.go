package messaging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rollcall/handlers/access"
)

const (
	// serverKeyHeader holds the curve key that the answer to an encrypted question is for.
	serverKeyHeader = "Nats-Server-Xkey"
	// questionAudience is the audience of a question.
	questionAudience = "nats-authorization-request"
	// guestAccounts begins the names of the NATS accounts of clients.
	guestAccounts = "GUEST_"
	// operatorsAccount is the NATS account of operators. No application has a capital letter.
	operatorsAccount = guestAccounts + "OPERATORS"
	// tokenUser is the user whose password is a token.
	tokenUser = "token"
)

// AccountOf returns the NATS account that a principal's clients are put into on an external server:
// GUEST_<app>_<role>, and GUEST_OPERATORS for operators. As neither applications nor roles have a _ in their
// names, no two share an account.
//
// An account is what keeps clients apart. Permissions do not cover the subject that a publication wants its answer
// on, so within one account whoever may ask can lead an answer onto any subject that others there hear. That is why it is of one role.
func AccountOf(p access.Principal) string {
	if p.Role == access.Operator {
		return operatorsAccount
	}
	return guestAccounts + p.App + "_" + string(p.Role)
}

// InboxOf returns the subject below which a client gets its answers on an external server. Clients of one
// account share all subjects, so each token has an inbox of its own: it is a client's custom inbox prefix.
func InboxOf(tokenID string) string { return "_INBOX_" + tokenID }

// TokenOfGuest returns the id of the token that a request over an external server was sent with, as the imports of
// deployments/nats have the server tell it. It is for IdentifyBy.
func TokenOfGuest(info RequestInfo) (tokenID string, ok bool) {
	return info.User, strings.HasPrefix(info.Account, guestAccounts) && info.User != ""
}

// Refusals, as the server logs them. The client is told of an authorization violation and no more.
var (
	errOddCredentials = errors.New("give the token alone, or as the password of the user " + tokenUser)
	errNobody         = errors.New("the token is missing, unknown or revoked")
	errNoTokens       = errors.New("the tokens cannot be reached")
	errNothingToDo    = errors.New("a token with this role may do nothing over NATS")
)

// answer answers a question. An error is for a question that cannot be.
func (c *Callout) answer(ctx context.Context, m *nats.Msg) ([]byte, error) {
	q, serverKey, err := c.open(m)
	if err != nil {
		return nil, err
	}
	issuer := c.issuers[q.Subject]
	if issuer == nil {
		return nil, fmt.Errorf("its configuration has an issuer whose seed is not here: %s", q.Subject)
	}
	response := jwt.NewAuthorizationResponseClaims(q.UserNkey)
	response.Audience = q.Server.ID
	user, err := c.admit(ctx, q)
	if err == nil {
		response.Jwt, err = user.Encode(issuer)
	}
	if err != nil {
		response.Error = err.Error()
	}
	c.log(q, user, err)
	encoded, err := response.Encode(issuer)
	if err != nil {
		return nil, fmt.Errorf("sign the answer: %w", err)
	}
	if serverKey == "" {
		return []byte(encoded), nil
	}
	return c.xkey.Seal([]byte(encoded), serverKey)
}

// open reads a question, and returns the key that its answer is to be encrypted for. It was signed by a server, which the
// answer is for: another cannot use it, nor for another client.
func (c *Callout) open(m *nats.Msg) (*jwt.AuthorizationRequestClaims, string, error) {
	if len(m.Data) > maxQuestion {
		return nil, "", fmt.Errorf("the question has %d bytes, at most %d are read", len(m.Data), maxQuestion)
	}
	data, serverKey := m.Data, m.Header.Get(serverKeyHeader)
	switch {
	case c.xkey == nil && serverKey != "":
		return nil, "", errors.New("the question is encrypted; give the service the seed of the xkey")
	case c.xkey != nil && serverKey == "":
		return nil, "", errors.New("the question is not encrypted; configure the xkey on all servers")
	case c.xkey != nil:
		if !nkeys.IsValidPublicCurveKey(serverKey) {
			return nil, "", errors.New("the question comes without a valid key for its answer")
		}
		var err error
		if data, err = c.xkey.Open(data, serverKey); err != nil {
			return nil, "", errors.New("the question is encrypted for another xkey")
		}
	}
	q, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return nil, "", errors.New("the question is not what a server asks, or is not signed") // the error may quote it
	}
	if q.Audience != questionAudience || q.Server.ID != q.Issuer || !nkeys.IsValidPublicUserKey(q.UserNkey) {
		return nil, "", errors.New("the question is not what a server asks")
	}
	return q, serverKey, nil
}

// admit returns as what a client is let in, or why it is not.
func (c *Callout) admit(ctx context.Context, q *jwt.AuthorizationRequestClaims) (*jwt.UserClaims, error) {
	secret, ok := secretOf(q.ConnectOptions)
	if !ok {
		return nil, errOddCredentials
	}
	who, err := c.cfg.Authenticate(ctx, secret)
	if errors.Is(err, access.ErrUnauthenticated) {
		return nil, errNobody
	}
	if err != nil {
		return nil, errNoTokens // which access logs
	}
	rights := RightsOf(who)
	if len(rights.Requests) == 0 && len(rights.Hears) == 0 {
		return nil, errNothingToDo
	}
	user := jwt.NewUserClaims(q.UserNkey)
	user.Name = who.TokenID // which a server tells with each request
	user.Audience = AccountOf(who)
	user.Expires = c.cfg.Now().Add(c.cfg.Life + time.Second - 1).Unix()
	user.Permissions = rights.permissions(InboxOf(who.TokenID))
	// Not leaf nodes, behind which are others, nor MQTT, which keeps sessions.
	user.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}
	var results jwt.ValidationResults
	if user.Validate(&results); len(results.Issues) > 0 {
		return nil, fmt.Errorf("the token's rights cannot be said to the server: %s", results.Issues[0].Description)
	}
	return user, nil
}

// secretOf returns the token in what a client sent to connect, which must have nothing besides: what is ambiguous could mean one thing
// here and another to the server.
func secretOf(o jwt.ConnectOptions) (string, bool) {
	if o.JWT != "" || o.Nkey != "" || o.SignedNonce != "" {
		return "", false
	}
	switch {
	case o.Token == "":
		return o.Password, o.Username == "" || o.Username == tokenUser
	default:
		return o.Token, o.Username == "" && o.Password == ""
	}
}

// permissions say the rights as those of a user in an account that imports all that leads out of it.
func (r Rights) permissions(inbox string) jwt.Permissions {
	var p jwt.Permissions
	for _, l := range r.Requests {
		p.Pub.Allow.Add(l.From)
	}
	if len(p.Pub.Allow) == 0 {
		p.Pub.Deny.Add(">") // to the server, an empty list permits everything
	}
	p.Sub.Allow = append(slices.Clone(r.Hears), inbox+".>")
	return p
}

// log tells of an answer, and of an account the first time.
func (c *Callout) log(q *jwt.AuthorizationRequestClaims, user *jwt.UserClaims, err error) {
	client := []any{"server", q.Server.Name, "host", q.ClientInformation.Host, "client", q.ClientInformation.ID}
	if err != nil {
		c.cfg.Logger.Info("a NATS client is refused", append(client, "reason", err.Error())...)
		return
	}
	if _, known := c.used.LoadOrStore(user.Audience, true); !known {
		c.cfg.Logger.Info("clients are put into this NATS account; a server without it refuses them and warns that it is not valid",
			"account", user.Audience, "example", "deployments/nats/add-app")
	}
	c.cfg.Logger.Debug("a NATS client may connect", append(client, "token", user.Name, "account", user.Audience)...)
}
