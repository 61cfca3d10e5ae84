// Package webhook sends the events of an application's exports to addresses that it has registered, as HTTP requests signed by the
// convention of Standard Webhooks (https://www.standardwebhooks.com).
//
// It owns registrations, their secrets, and deliveries from the event to the answer that ends them. An event is delivered at
// least once, in no promised order, under an id that stays the same however often it is sent. It must never hand out a
// secret but once, follow a redirect, keep what a receiver answers, or send to an address that is not public unless told to.
package webhook
