// Package asyncapi holds asyncapi.yaml against the code and against messages of a running service. It has tests alone.
//
// They must fail when a name, a limit, a member of a body or a header is in the document and not in the code, or the other way round.
package asyncapi
