// Package wire holds the JSON of commands, accounts and problems that all transports share: one
// form, one set of codes.
//
// It owns how a body is read and what is refused because of its shape, how an account is
// written, and how the error of a use case becomes a problem with a stable code. It must never
// decide anything, know a transport, or check the bounds that are the domain's.
//
// # Bodies
//
// A JSON body is one object in UTF-8. Unknown names, names given twice, halves of
// surrogate pairs, and numbers that are not whole 32-bit numbers are refused by name, so
// that nothing is silently read as something else.
package wire
