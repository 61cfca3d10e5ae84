package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/handlers/access"
)

// MasterKey tells how many keys of accounts a master key wraps.
type MasterKey struct {
	ID     string `json:"id" doc:"Tells nothing of the key itself"`
	Role   string `json:"role" enum:"current,old,next,unknown" doc:"current: wraps keys; old: has wrapped keys, which are wrapped anew; next: wraps keys for other instances; unknown: does so, and this instance cannot read them"`
	Blocks int    `json:"blocks" doc:"Blocks of keys that it wraps. An old one with none may be dropped once no instance wraps with it any more"`
}

// MasterKeyList is all master keys that this instance knows of.
type MasterKeyList struct {
	MasterKeys []MasterKey `json:"master_keys" nullable:"false"`
}

type masterKeysOutput struct{ Body MasterKeyList }

func (h *Handler) registerKeys() {
	if h.MasterKeys == nil {
		return
	}
	register(h, rule{action: access.Operate, scope: inInstance}, huma.Operation{
		OperationID: "list-master-keys", Method: http.MethodGet, Path: "/v1/keys", Tags: []string{"Service"},
		Summary: "Show how many keys of accounts each master key wraps",
	}, nil, func(context.Context, *UnusedReadParams) (*masterKeysOutput, error) {
		return &masterKeysOutput{MasterKeyList{MasterKeys: h.MasterKeys()}}, nil
	})
}
