package domain_test

import (
	"strings"
	"testing"

	"rollcall/domain"
)

func TestAListingIsNormalized(t *testing.T) {
	l, err := domain.Listing{App: "chat"}.Normalize()
	if err != nil || l.Sort != domain.SortCreatedAt || l.Order != domain.Ascending || l.Limit != domain.DefaultListLimit {
		t.Fatalf("%+v, %v", l, err)
	}
	_, err = domain.Listing{App: "chat", Sort: "x", Order: "y", Limit: 1001, Filter: domain.Filter{Type: "z", Text: strings.Repeat("q", 501)}}.Normalize()
	decision{err: err}.thenRefused(t, domain.CodeInvalid, "sort", "order", "limit", "type", "q")
}

func TestASelectionNamesIDsOrAFilter(t *testing.T) {
	ok := []domain.Selection{{}, {UserIDs: []domain.UserID{"a"}}, {Filter: domain.Filter{Type: domain.TypeAdmin}}}
	for _, s := range ok {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	both := domain.Selection{UserIDs: []domain.UserID{"a"}, Filter: domain.Filter{Text: "a"}}
	decision{err: both.Check()}.thenRefused(t, domain.CodeInvalid, "filter")
	many := domain.Selection{UserIDs: make([]domain.UserID, domain.MaxSelectedIDs+1)}
	decision{err: many.Check()}.thenRefused(t, domain.CodeInvalid, "user_ids")
}

func TestAFilterMatchesTextInAnyCase(t *testing.T) {
	a := domain.Account{UserID: "Kim.01", Type: domain.TypeNormal, Profile: domain.Profile{Nickname: "김하늘 ÉCLAIR"}}
	for text, want := range map[string]bool{"": true, "kIM": true, ".0": true, "하늘": true, "늘": true, "éclair": true, "%": false, "김늘": false} {
		if got := (domain.Filter{Text: text}).Matches(a); got != want {
			t.Errorf("%q matches: %v", text, got)
		}
	}
	if (domain.Filter{Type: domain.TypeAdmin}).Matches(a) {
		t.Error("an administrators' filter matches a normal account")
	}
}
