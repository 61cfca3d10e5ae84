// Package export makes files of accounts: jobs that are ordered, done in the
// background, watched, cancelled, and whose file is fetched by a signed URL
// until it expires.
//
// The state of a job is folded from its events and is kept nowhere else, so that every
// instance knows every job. A job's file shows exactly one position of the log.
// The package knows no transport and no store: it declares what it needs of them
// as Events, Queue, Files, Accounts, Waiter and Log. It must never write an account
// or a read model, and never put what an account's profile holds into an event. The text
// that a filter searches for may be personal: it stands in the requested event alone, sealed with a
// key of the job's own, which is destroyed when the job is over.
//
// # CSV
//
// A csv file follows RFC 4180: lines end in CRLF, the first line names the fields, cells that
// hold a comma, a quote or a line break are quoted. It is UTF-8 without a byte order mark; an
// unset field is an empty cell. A cell of text that a spreadsheet would run as a
// formula gets a single quote in front, and so does a cell that begins with one, so
// that a reader that strips exactly one restores every cell: see Guard and
// Unguard. Numbers and times never need it.
//
// # NDJSON
//
// An ndjson file holds one JSON object (RFC 8259) a line, with its members in the order of the
// fields; unset fields are absent. Times are RFC 3339 in UTC. The same accounts
// always give the same bytes.
package export
