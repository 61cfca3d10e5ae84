package export_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// list is an account list in memory whose position is that of a log which it
// always keeps up with.
type list struct {
	mu       sync.Mutex
	position uint64
	accounts []domain.Account

	failures []error               // of the scans to come
	gate     func(context.Context) // called before each account is given out, if set
}

const app domain.AppID = "shop"

// newList returns a list of n accounts, u000000 and so on.
func newList(n int) *list {
	l := &list{position: uint64(n) + 1}
	created := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	for i := range n {
		l.accounts = append(l.accounts, domain.Account{
			App: app, UserID: domain.UserID(fmt.Sprintf("u%06d", i)), Type: domain.TypeNormal,
			Profile:   domain.Profile{Nickname: fmt.Sprintf("닉네임 %d", i), Gender: domain.GenderFemale, Birthday: 20010203, Level: domain.Num(uint32(i))},
			CreatedAt: created, UpdatedAt: created.Add(time.Duration(i)), Revision: uint64(i) + 2,
		})
	}
	return l
}

func (l *list) App(_ context.Context, id domain.AppID) (domain.App, uint64, error) {
	if id != app {
		return domain.App{}, 0, &domain.Rejection{Code: domain.CodeAppNotFound, Detail: "there is no such application"}
	}
	return domain.App{ID: id}, l.position, nil
}

func (l *list) Scan(ctx context.Context, s domain.Selection, visit func(domain.Snapshot) error) error {
	l.mu.Lock()
	var err error
	if len(l.failures) > 0 {
		err, l.failures = l.failures[0], l.failures[1:]
	}
	var chosen []domain.Account
	for _, a := range l.accounts {
		if s.UserIDs == nil && s.Filter.Matches(a) || slices.Contains(s.UserIDs, a.UserID) {
			chosen = append(chosen, a)
		}
	}
	snap := domain.Snapshot{Position: l.position, Total: len(chosen), Accounts: l.each(ctx, chosen)}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return visit(snap)
}

func (l *list) each(ctx context.Context, accounts []domain.Account) iter.Seq2[domain.Account, error] {
	return func(yield func(domain.Account, error) bool) {
		for _, a := range accounts {
			if l.gate != nil {
				l.gate(ctx)
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

// remove deletes an account and returns the position of the deletion.
func (l *list) remove(id domain.UserID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts = slices.DeleteFunc(l.accounts, func(a domain.Account) bool { return a.UserID == id })
	l.position++
	return l.position
}

// Last is the end of the log.
func (l *list) Last(context.Context) (eventstore.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return eventstore.Position(l.position), nil
}

func (l *list) WaitFor(_ context.Context, p eventstore.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(p) > l.position {
		return fmt.Errorf("the list is at %d, not %d", l.position, p)
	}
	return nil
}
