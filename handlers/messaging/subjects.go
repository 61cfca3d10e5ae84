package messaging

import (
	"strings"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/intake"
)

// The beginnings of subjects.
const (
	commandPrefix = "accounts.cmd."     // <app>.<verb>, where commands are published, and the stream of them
	ingressPrefix = "accounts.ingress." // <app>.<verb>, where what others publish on commandPrefix arrives
	outcomePrefix = "accounts.outcome." // <app>.<command id>
	deadPrefix    = "accounts.dead."    // <app>
	rpcPrefix     = "accounts.rpc."     // <app>.<verb>
	eventPrefix   = "accounts.evt."     // the log
	exportPrefix  = "accounts.export."  // events of exports

	checkpointSubject = "accounts.checkpoint" // signed checkpoints of the ledger
)

// noApp stands in a subject for the application of a message that names none. No application has that name.
const noApp = "_"

// Headers of messages in the stream of commands that those who publish cannot set.
const (
	headerSender    = "Rollcall-Sender"     // id of the token
	headerCommandID = "Rollcall-Command-Id" // what came as Nats-Msg-Id, whose meaning to the server is stream-wide
	headerStored    = "Rollcall-Stored"     // when it was taken in first, in RFC 3339, of one that is a dead letter or was
)

// Headers of dead letters, besides those of the message that died.
const (
	headerDeadSubject = "Rollcall-Dead-Subject" // where it was published
	headerDeadCode    = "Rollcall-Dead-Code"
	headerDeadReason  = "Rollcall-Dead-Reason"
)

// outcomeSubject returns where the outcome of a command is published.
func outcomeSubject(app domain.AppID, commandID string) string {
	return outcomePrefix + string(app) + "." + eventstore.Token(commandID)
}

// deadSubject returns where dead letters of an application are published.
func deadSubject(app domain.AppID) string {
	if !app.Valid() {
		return deadPrefix + noApp
	}
	return deadPrefix + string(app)
}

// appAndVerb splits a subject below a prefix.
func appAndVerb(subject, prefix string) (app domain.AppID, verb intake.Verb) {
	a, v, _ := strings.Cut(strings.TrimPrefix(subject, prefix), ".")
	return domain.AppID(a), intake.Verb(v)
}
