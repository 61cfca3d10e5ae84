package wire

import (
	"fmt"

	"rollcall/domain"
	"rollcall/handlers/command"
)

// DecodeUserIDs reads the ids of a batch. Errors are those of DecodeObject and CheckUserIDs.
func DecodeUserIDs(b []byte) ([]domain.UserID, error) {
	var ids []domain.UserID
	err := DecodeObject(b, "the batch", map[string]Setter{"user_ids": SetStrings(&ids, "user_ids", command.MaxDeletions)})
	if err != nil {
		return nil, err
	}
	return ids, CheckUserIDs(ids)
}

// CheckUserIDs refuses a batch that names nobody, or an id twice, because which of
// the two were first would be left to chance. Error: *domain.Rejection.
func CheckUserIDs(ids []domain.UserID) error {
	if len(ids) == 0 {
		return Invalid("the batch", "user_ids", domain.CodeRequired, "name 1 to %d accounts", command.MaxDeletions)
	}
	var bad Checks
	seen := make(map[domain.UserID]bool, len(ids))
	for i, id := range ids {
		if seen[id] {
			bad.Add(fmt.Sprintf("user_ids[%d]", i), CodeDuplicate, "is given twice")
		}
		seen[id] = true
	}
	return bad.Err("the batch")
}
