// Package intake decides commands that come as messages, each once, and keeps what became of
// them for those who sent them.
//
// It owns outcomes and dead letters: a command that is understood is accepted or rejected and has one final
// outcome; one that cannot be understood is a dead letter, which a person has tried again or dropped. It must never know
// by which transport a command came, and never take an unknown result for a failure: what may still have happened is
// tried again under the same command id until it is known.
package intake
