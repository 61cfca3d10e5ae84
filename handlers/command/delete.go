package command

import (
	"context"
	"sync"

	"rollcall/domain"
)

// MaxDeletions bounds the accounts of one batch deletion.
const MaxDeletions = 100

// ItemResult tells what became of one account of a batch.
type ItemResult struct {
	UserID   domain.UserID
	Position uint64
	Err      error // as of Execute
}

// DeleteAccounts deletes accounts, each for itself: one that fails does not stop
// the others. The results are in the order of ids; an account that is named twice is not
// found, or replayed, the second time. Errors: *domain.Rejection when there is no account, are more
// than MaxDeletions, or the command id cannot be accepted.
func (s *Service) DeleteAccounts(ctx context.Context, req Request, app domain.AppID, ids []domain.UserID) ([]ItemResult, error) {
	if n := len(ids); n == 0 || n > MaxDeletions {
		return nil, &domain.Rejection{
			Code: domain.CodeInvalid, Detail: "the batch cannot be accepted",
			Fields: []domain.FieldError{{Field: "user_ids", Code: domain.CodeBadValue, Detail: "1 to 100 user ids"}},
		}
	}
	if err := checkID(req.ID); err != nil {
		return nil, err
	}
	results := make([]ItemResult, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			req := req
			req.ID += "/" + string(id) // administrators share a roster, where each deletion is a command of its own
			res, err := s.observed(ctx, req, domain.DeleteAccount{App: app, UserID: id})
			results[i] = ItemResult{UserID: id, Position: res.Position, Err: err}
		})
	}
	wg.Wait()
	return results, nil
}
