package service

import (
	"context"
	"fmt"

	"rollcall/domain"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/wire"
)

// oneList is the list of a service that keeps it in SQLite: the only one, which is built anew by removing its file. It implements httpapi.Lists.
type oneList struct{ file string }

func (l oneList) refuse() error {
	return &domain.Rejection{Code: wire.CodeListsUnsupported, Detail: fmt.Sprintf("this service keeps its one account list in SQLite; to build that anew from the log, stop the service, "+
		"remove the files that begin with %s, and start it again. Lists beside the live one need PostgreSQL, rollcall serve --db", l.file)}
}

// Rebuild refuses.
func (l oneList) Rebuild(context.Context, int64, bool) (int64, error) { return 0, l.refuse() }

// Lists refuses.
func (l oneList) Lists(context.Context) ([]httpapi.BuiltList, error) { return nil, l.refuse() }

// Drop refuses.
func (l oneList) Drop(context.Context, int64) error { return l.refuse() }
