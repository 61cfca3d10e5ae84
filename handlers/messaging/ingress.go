package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/access"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

// Bounds of what is taken in.
const (
	maxCommandBody    = 64 << 10 // as over HTTP
	maxExportBody     = 1<<20 - 64<<10
	maxTakenIn        = 16 << 10 // commands that wait to be written to the stream
	maxTakenInBytes   = 64 << 20
	maxRemembered     = 64 << 10
	commandHeaderRoom = 16 << 10
)

// Identify tells who has sent a message to the service. access.ErrUnauthenticated when it does not tell.
type Identify func(h nats.Header) (access.Principal, error)

// IngressConfig tells how commands are taken in. Identify is needed.
type IngressConfig struct {
	Identify Identify
	// Observe, if set, is told what became of each message. It is called concurrently and must not wait.
	Observe func(IngressResult)
	Logger  *slog.Logger
}

// IngressResult tells what became of a message that was to be taken in: that it is in the stream, now or since before, or
// why it was refused.
type IngressResult string

// The results.
const (
	IngressAccepted        IngressResult = "accepted"
	IngressDuplicate       IngressResult = "duplicate"
	IngressUnauthenticated IngressResult = "unauthenticated"
	IngressForbidden       IngressResult = "forbidden"
	IngressTooLarge        IngressResult = "too_large"
	IngressMalformed       IngressResult = "malformed"
	IngressBusy            IngressResult = "busy"        // too many at once
	IngressFull            IngressResult = "full"        // as many wait as may
	IngressUnavailable     IngressResult = "unavailable" // it may be in the stream
)

// IngressResults returns all results.
func IngressResults() []IngressResult {
	return []IngressResult{
		IngressAccepted, IngressDuplicate, IngressUnauthenticated, IngressForbidden, IngressTooLarge, IngressMalformed, IngressBusy, IngressFull, IngressUnavailable,
	}
}

// Ingress takes commands in from others and puts them into their stream. To those who publish it is the
// stream: it acknowledges and refuses as JetStream does. It is between because the stream does not keep who published,
// and because commands that arrive together are written to disk together.
type Ingress struct {
	IngressConfig
	nc     *nats.Conn
	group  *group
	recent *lru.Cache[uint64, uint64] // the sequence of what was taken in lately, by a hash of it
	seed   maphash.Seed
}

// NewIngress returns an ingress to the stream of commands, which has to exist, for what arrives on a connection.
func NewIngress(nc *nats.Conn, js jetstream.JetStream, cfg IngressConfig) (*Ingress, error) {
	if cfg.Identify == nil {
		return nil, errors.New("the intake of commands needs Identify")
	}
	recent, err := lru.New[uint64, uint64](maxRemembered)
	if err != nil {
		return nil, err
	}
	if cfg.Observe == nil {
		cfg.Observe = func(IngressResult) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ingress{IngressConfig: cfg, nc: nc, group: newGroup(js, defaultTimeout), recent: recent, seed: maphash.MakeSeed()}, nil
}

// Run takes commands in until ctx ends, and then finishes those that have arrived. Instances share the work.
func (i *Ingress) Run(ctx context.Context) error {
	sub, err := i.nc.QueueSubscribe(ingressPrefix+"*.*", "rollcall", i.take)
	if err != nil {
		return fmt.Errorf("take commands in: %w", err)
	}
	// What has arrived and is not looked at yet is bounded by bytes: take does not wait for anything.
	if err := sub.SetPendingLimits(-1, maxTakenInBytes); err != nil {
		return fmt.Errorf("take commands in: %w", err)
	}
	<-ctx.Done()
	closed := sub.StatusChanged(nats.SubscriptionClosed)
	if err := sub.Drain(); err == nil {
		select {
		case <-closed:
		case <-time.After(defaultTimeout):
		}
	}
	i.group.close()
	return nil
}

// take takes in one command.
func (i *Ingress) take(m *nats.Msg) {
	who, err := i.Identify(m.Header)
	if err != nil {
		i.refuse(m, http.StatusUnauthorized, 0, "it was not sent with a token of this service")
		return
	}
	in, code, why := i.prepare(m, who)
	if why != "" {
		i.refuse(m, code, 0, why)
		return
	}
	hash := i.hash(in)
	if sequence, ok := i.recent.Get(hash); ok {
		i.acknowledge(m, sequence, true)
		return
	}
	if n, bytes := i.group.waiting(); n >= maxTakenIn || bytes >= maxTakenInBytes {
		i.refuse(m, http.StatusTooManyRequests, jsTooManyRequests, "too many commands at once; publish it again in a moment")
		return
	}
	err = i.group.post(in, func(sequence uint64, err error) {
		if err != nil {
			i.fail(m, err)
			return
		}
		if in.Header.Get(headerCommandID) != "" {
			i.recent.Add(hash, sequence)
		}
		i.acknowledge(m, sequence, false)
	})
	if err != nil {
		i.refuse(m, http.StatusServiceUnavailable, jsNotAvailable, "the service is stopping; publish it again in a moment")
	}
}

// prepare returns the message that is put into the stream, or why it cannot be.
func (i *Ingress) prepare(m *nats.Msg, who access.Principal) (in *nats.Msg, code int, why string) {
	app, verb := appAndVerb(m.Subject, ingressPrefix)
	most := maxCommandBody
	if verb == intake.Export {
		most = maxExportBody
	}
	if err := who.Authorize(verb.Action(), string(app)); err != nil {
		return nil, http.StatusForbidden, wire.ForbiddenDetail(err)
	}
	if len(m.Data) > most || m.Size()-len(m.Data) > commandHeaderRoom {
		return nil, http.StatusRequestEntityTooLarge, fmt.Sprintf("a command has at most %d bytes, and %d of headers", most, commandHeaderRoom)
	}
	if len(m.Data) > maxCommandBody && !json.Valid(m.Data) { // a large one that is dead would push out others that are
		return nil, http.StatusBadRequest, "the body is not valid JSON"
	}
	in = &nats.Msg{Subject: commandPrefix + string(app) + "." + string(verb), Data: m.Data, Header: nats.Header{headerSender: {who.TokenID}}}
	for name, values := range m.Header {
		switch {
		case name == jetstream.MsgIDHeader:
			in.Header[headerCommandID] = values
		case name == jetstream.ExpectedStreamHeader:
			if len(values) != 1 || values[0] != StreamCommands {
				return nil, http.StatusBadRequest, "expected stream does not match: commands are in the stream " + StreamCommands
			}
		case slices.Contains(serverHeaders, name):
		case reserved(name):
			return nil, http.StatusBadRequest, "the header " + wire.Quoted(name) + " has no meaning for commands; leave it out"
		case strings.HasPrefix(strings.ToLower(name), "rollcall-"):
			return nil, http.StatusBadRequest, "the header " + wire.Quoted(name) + " is given by the service; leave it out"
		default:
			in.Header[name] = values
		}
	}
	return in, 0, ""
}

// serverHeaders are put into messages by the server, or read by it on their way, and mean nothing here.
var serverHeaders = []string{requestInfoHeader, "Nats-Trace-Dest", "Nats-Trace-Only"}

// hash returns what tells a command from any other, unless by chance.
func (i *Ingress) hash(in *nats.Msg) uint64 {
	var h maphash.Hash
	h.SetSeed(i.seed)
	h.WriteString(in.Subject)
	h.WriteByte(0)
	for _, name := range slices.Sorted(maps.Keys(in.Header)) { // such as If-Match
		for _, v := range in.Header[name] {
			h.WriteString(name)
			h.WriteByte(0)
			h.WriteString(v)
			h.WriteByte(0)
		}
	}
	h.Write(in.Data)
	return h.Sum64()
}

// Codes of JetStream's errors.
const (
	jsNotAvailable    = 10008
	jsNoStorage       = 10047
	jsStoreFailed     = 10077 // such as for a limit that is reached; the description says which
	jsTooManyRequests = 10167
)

// pubAck is the answer to a publication, as JetStream gives it.
type pubAck struct {
	Error     *jetstream.APIError `json:"error,omitempty"`
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate,omitempty"`
}

func (i *Ingress) acknowledge(m *nats.Msg, sequence uint64, duplicate bool) {
	result := IngressAccepted
	if duplicate {
		result = IngressDuplicate
	}
	i.Observe(result)
	i.answer(m, pubAck{Stream: StreamCommands, Sequence: sequence, Duplicate: duplicate})
}

func (i *Ingress) refuse(m *nats.Msg, code int, jsCode jetstream.ErrorCode, why string) {
	i.Observe(refusal(code, jsCode))
	i.answer(m, pubAck{Stream: StreamCommands, Error: &jetstream.APIError{Code: code, ErrorCode: jsCode, Description: why}})
}

// refusal returns the result that a refusal is.
func refusal(code int, jsCode jetstream.ErrorCode) IngressResult {
	switch {
	case code == http.StatusUnauthorized:
		return IngressUnauthenticated
	case code == http.StatusForbidden:
		return IngressForbidden
	case code == http.StatusRequestEntityTooLarge:
		return IngressTooLarge
	case code == http.StatusBadRequest:
		return IngressMalformed
	case code == http.StatusTooManyRequests:
		return IngressBusy
	case jsCode == errCodeStoreFailed, jsCode == jsNoStorage: // a limit of the stream, or of its server
		return IngressFull
	}
	return IngressUnavailable
}

// fail tells why a command is not in the stream, or may not be.
func (i *Ingress) fail(m *nats.Msg, err error) {
	var js jetstream.JetStreamError
	if errors.As(err, &js) && js.APIError() != nil {
		api := js.APIError()
		i.refuse(m, api.Code, api.ErrorCode, api.Description)
		return
	}
	i.Logger.Warn("a command may not have been taken in", "subject", m.Subject, "error", err)
	i.refuse(m, http.StatusServiceUnavailable, jsNotAvailable, "the stream did not answer, so the command may or may not be in it; publish it again under the same id")
}

func (i *Ingress) answer(m *nats.Msg, a pubAck) {
	if m.Reply == "" {
		return
	}
	b, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil {
		i.Logger.Warn("who published a command could not be answered", "subject", m.Subject, "error", err)
	}
}
