package export_test

import (
	"testing"

	"rollcall/handlers/export"
)

func TestWhyAJobIsOverHasANameForPrograms(t *testing.T) {
	for text, want := range map[string]export.Reason{
		export.ErrStoreFull.Error():                                "store_full",
		"an account that the file may hold has been deleted since": "account_deleted",
		"the file has reached the end of its life":                 "age",
		"":                    "",
		"something untold of": "",
	} {
		if got := (export.Job{Error: text}).Reason(); got != want {
			t.Errorf("%q is named %q, want %q", text, got, want)
		}
	}
}
