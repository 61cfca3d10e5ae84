// Package export makes files of accounts: jobs that are ordered, done in the
// background, watched, cancelled, and whose file is fetched by a signed URL
// until it expires.
//
// # Position
//
// A file shows one position of the log: the end of it when the job first starts, or an earlier one that was
// asked for. It stays through interruptions. Accounts come in the order of their creation, those of the same time by user id; those that are named, by user id. What was deleted behind the
// position is left out, for erasure wins over history, also when it was created again. When an account is deleted
// while the file is written, the job begins anew: at a position behind that, or at the one that was asked for
// without the account.
//
// # Deletions
//
// A file that may hold an account which is deleted after its completion is removed at once. The job then expires, or it is withdrawn, see
// OnDelete: queued again, it begins anew in the same way, at a position behind the deletion or at the one that was asked for, and is completed once
// more. Each file has its own completed event, of which one counts. However often it is rebuilt, it is removed when the first file would have been.
//
// # Parts
//
// Every 50,000 accounts, or about 1 MiB, an attempt keeps what it has found in the store. The next attempt at the same position goes on from
// there and writes the same bytes. Parts have no URL, and go with the job, or when an account is deleted that
// they may hold.
//
// # State
//
// The state of a job is folded from its events and is kept nowhere else, so that every
// instance knows every job. A job's file shows exactly one position of the log.
// The package knows no transport and no store: it declares what it needs of them
// as Events, Queue, Files, Accounts, Waiter and Log. It must never write an account
// or a read model, and never put what an account's profile holds into an event. The text
// that a filter searches for may be personal: it stands in the requested event alone, sealed with a
// key of the job's own, which is destroyed when the job is over; one whose file may be rebuilt is over when the file is gone.
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
// fields; unset fields are absent. Times are RFC 3339 in UTC.
//
// # XLSX
//
// An xlsx file is a workbook (ECMA-376) with a sheet of a header and up to 1,048,575 accounts, then further
// ones. Cells have types, so that no text is run as a formula and none needs a guard; they keep the format of text. Times
// are dates in UTC, to the millisecond; one before March of 1900 and a number of more than 15 digits, which
// a spreadsheet would change, are text. An unset field is a cell that is not there.
//
// # Parquet
//
// A parquet file has a column a field: UTF8, with a dictionary where the values are few, numbers without
// sign, TIMESTAMP in nanoseconds UTC. A field that an account may lack is nullable. A row group holds at most
// 122,880 accounts and about 6 MiB of text.
//
// # Compression
//
// csv and ndjson are compressed as a whole, which their file's extension tells; parquet within, page by page.
// xlsx is a zip archive already. The same accounts always give the same bytes in every format
// and compression.
//
// # Manifest
//
// Beside each file is a JSON document under its name and .manifest.json, which tells what the file holds: see
// Manifest. It is there before the job is completed, has a signed URL of its own, and goes with the file.
package export
