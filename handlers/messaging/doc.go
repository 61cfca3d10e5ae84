// Package messaging carries messages over NATS JetStream for the use cases: commands and
// what becomes of them, requests, export jobs and export events, and the records that instances share.
//
// Publisher and Subscriber are watermill's over nats.go's jetstream package. A
// message is acknowledged only after its handler has said so, a message that nobody acknowledged is
// delivered again, and messages with one key keep their order.
//
// Commands come in through Ingress, wait in their stream, and are decided by what RunCommands routes, in the order that
// precedenceOf tells; what becomes of them goes to Outcomes or DeadLetters. RPC answers requests.
// LogConsumers makes the consumers by which auditors read the log.
//
// The package must never publish on the subjects of the log, decide what a command
// leads to, or acknowledge a message on its own.
package messaging
