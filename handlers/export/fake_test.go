package export_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

	given    atomic.Int64                         // accounts
	others   bool                                 // every application has these accounts
	failures []error                              // of the chunks to come
	gate     func(context.Context, domain.UserID) // called for each account of a chunk before that is given out, if set
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
	if id != app && !l.others {
		return domain.App{}, 0, &domain.Rejection{Code: domain.CodeAppNotFound, Detail: "there is no such application"}
	}
	return domain.App{ID: id}, l.position, nil
}

func (l *list) Chunk(ctx context.Context, s domain.Stretch) (domain.Chunk, error) {
	l.mu.Lock()
	var err error
	if len(l.failures) > 0 {
		err, l.failures = l.failures[0], l.failures[1:]
	}
	chunk := domain.Chunk{Position: l.position}
	for _, a := range l.accounts {
		if s.UserIDs != nil && !slices.Contains(s.UserIDs, a.UserID) || s.Type != "" && a.Type != s.Type {
			continue
		}
		chunk.Total++
		if s.UserIDs != nil || a.UserID > s.After.UserID && len(chunk.Accounts) < s.Limit {
			chunk.Accounts = append(chunk.Accounts, a)
		}
	}
	gate := l.gate
	l.mu.Unlock()
	l.given.Add(int64(len(chunk.Accounts)))
	for _, a := range chunk.Accounts {
		if gate != nil {
			gate(ctx, a.UserID)
		}
	}
	return chunk, err
}

// AccountAt is asked for accounts that were created since: none is ever edited.
func (l *list) AccountAt(context.Context, domain.AppID, domain.UserID, uint64, uint64) (domain.Account, bool, error) {
	return domain.Account{}, false, nil
}

// Created has every account there from the beginning.
func (l *list) Created(context.Context, domain.AppID, domain.UserID, uint64) (uint64, domain.AccountType, error) {
	return 1, domain.TypeNormal, nil
}

// remove deletes an account and returns the position of the deletion.
func (l *list) remove(id domain.UserID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts = slices.DeleteFunc(l.accounts, func(a domain.Account) bool { return a.UserID == id })
	l.position++
	return l.position
}

// last returns the account that comes last.
func (l *list) last() domain.UserID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accounts[len(l.accounts)-1].UserID
}

// Last is the end of the log.
func (l *list) Last(context.Context) (eventstore.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return eventstore.Position(l.position), nil
}

func (l *list) PositionAt(context.Context, time.Time) (eventstore.Position, error) { return 0, nil }

func (l *list) WaitFor(_ context.Context, p eventstore.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(p) > l.position {
		return fmt.Errorf("the list is at %d, not %d", l.position, p)
	}
	return nil
}
