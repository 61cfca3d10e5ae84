// Package listtest holds the conformance suite of the account list, which every
// adapter runs. It must only be imported by tests.
package listtest

import (
	"testing"

	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
)

// Open returns an empty list that reads events with c and is closed by the
// test's cleanup.
type Open func(t testing.TB, c *codec.Codec) accountlist.List

// Run checks that a list does what accountlist.List promises.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"an empty list has position zero and no applications", testEmpty},
		{"applications are listed with their counters", testApps},
		{"any history gives the pages that the model gives", testHistories},
		{"pages hold together while accounts come and go", testWalkUnderChange},
		{"a search takes its text literally", testLiteralSearch},
		{"a search with thousands of matches gives every page", testWideSearch},
		{"the longest values are kept", testLongValues},
		{"user ids that differ in case are two accounts", testCase},
		{"an account deleted and created again is a new one", testCreatedAgain},
		{"an account whose key is destroyed shows no personal data", testErased},
		{"cursors that are broken or foreign are refused", testCursors},
		{"what does not exist is refused by its code", testNotFound},
		{"bad listings are refused", testBadRequests},
		{"events from another position are fenced off", testFence},
		{"a batch that fails midway leaves nothing", testFailingBatch},
		{"chunks follow from each other in the order of creation", testChunks},
		{"chunks hold together while accounts come and go", testChunksUnderChange},
		{"reads beside writes show exactly one position", testConcurrentReads},
		{"a read ends with its context and the list goes on", testCancel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}
