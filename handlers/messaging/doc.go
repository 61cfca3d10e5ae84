// Package messaging carries messages over NATS JetStream for the use cases: export
// jobs and export events, and the records that instances share.
//
// Publisher and Subscriber are watermill's over nats.go's jetstream package. A
// message is acknowledged only after its handler has said so, a message that nobody acknowledged is
// delivered again, and messages with one key keep their order.
//
// Export jobs need no order, events of exports are published without watermill. So the Publisher with its
// DuplicateError, the lanes by key and SoleOwner are not used by them: they are there for commands that come as messages.
//
// The package must never publish on the subjects of the log, decide what a command
// leads to, or acknowledge a message on its own.
package messaging
