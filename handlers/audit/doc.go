// Package audit answers those who examine what happened: the history of an account, an account as it was, and
// the events of an application.
//
// It owns the reading of the log for people who check it. It must never write anything, and never show what was
// erased: an erased event keeps its place, who did it and when, and which fields it was about.
package audit
