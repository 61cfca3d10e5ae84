package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"rollcall/domain"
	"rollcall/handlers/access"
)

const operatorSecret = "operator-token-of-this-test"

var (
	operator = access.Principal{TokenID: "operator", Name: "operator", Role: access.Operator}
	admin    = access.Principal{TokenID: "a", Name: "boss", Role: access.Admin, App: "mine"}
)

// start runs a service until the end of the test and waits until it knows the stored tokens.
func start(t testing.TB, store access.Store) *access.Service {
	t.Helper()
	s := access.New(store, operatorSecret, access.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCreate(t testing.TB, s *access.Service, name string, role access.Role, app string) (string, access.Token) {
	t.Helper()
	secret, tok, err := s.Create(t.Context(), operator, name, role, app)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return secret, tok
}

func TestATokenIsGoodFromItsCreationToItsRevocation(t *testing.T) {
	s := start(t, newMemory())
	for _, role := range access.Roles() {
		t.Run(string(role), func(t *testing.T) {
			app := "mine"
			if role == access.Operator {
				app = ""
			}
			secret, tok := mustCreate(t, s, "이름 "+string(role), role, app)
			p, err := s.Authenticate(t.Context(), secret)
			want := access.Principal{TokenID: tok.ID, Name: "이름 " + string(role), Role: role, App: app}
			if err != nil || p != want {
				t.Fatalf("authenticate: %+v, %v, want %+v", p, err, want)
			}
			if p.Actor() != tok.Name+"/"+tok.ID || tok.CreatedBy != "operator" || tok.CreatedAt.IsZero() {
				t.Errorf("actor %q, created by %q at %v", p.Actor(), tok.CreatedBy, tok.CreatedAt)
			}
			revoked, err := s.Revoke(t.Context(), admin, tok.ID)
			if role == access.Operator {
				if !errors.Is(err, access.CodeTokenNotFound) {
					t.Errorf("an admin revokes an operator's token: %v", err)
				}
				revoked, err = s.Revoke(t.Context(), operator, tok.ID)
			}
			if err != nil || !revoked.Revoked() || revoked.RevokedBy == "" {
				t.Fatalf("revoke: %+v, %v", revoked, err)
			}
			if p, err := s.Authenticate(t.Context(), secret); !errors.Is(err, access.ErrUnauthenticated) || p != (access.Principal{}) {
				t.Errorf("a revoked token is %+v, %v", p, err)
			}
			again, err := s.Revoke(t.Context(), operator, tok.ID)
			if err != nil || again != revoked {
				t.Errorf("revoked again: %+v, %v, want %+v", again, err, revoked)
			}
		})
	}
}

func TestSecretsThatAreNotOfATokenAreRefused(t *testing.T) {
	store := newMemory()
	s := start(t, store)
	secret, tok := mustCreate(t, s, "v", access.Viewer, "mine")
	other, _ := mustCreate(t, s, "w", access.Viewer, "mine")
	n := len(secret)
	for name, bad := range map[string]string{
		"empty":                          "",
		"a word":                         "token",
		"the id alone":                   tok.ID,
		"without the random part":        secret[:n-26],
		"a character short":              secret[:n-1],
		"a character long":               secret + "A",
		"with a space before it":         " " + secret,
		"in lower case":                  strings.ToLower(secret),
		"another token's random part":    secret[:n-26] + other[n-26:],
		"another separator":              strings.Replace(secret, tok.ID+"_", tok.ID+"-", 1),
		"an id that does not exist":      strings.Replace(secret, tok.ID, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1),
		"very long":                      strings.Repeat("x", 1<<20),
		"the operator's with more":       operatorSecret + "x",
		"the operator's without its end": operatorSecret[:len(operatorSecret)-1],
	} {
		if p, err := s.Authenticate(t.Context(), bad); !errors.Is(err, access.ErrUnauthenticated) || p != (access.Principal{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if r, err := store.Get(t.Context(), tok.ID); err != nil || strings.Contains(string(r.Hash[:]), secret) || r.Hash == (access.Hash{}) {
		t.Errorf("stored: %+v, %v", r, err)
	}
}

func TestTheOperatorsTokenIsGoodWithoutTheStore(t *testing.T) {
	s := access.New(newMemory(), operatorSecret, access.Options{})
	p, err := s.Authenticate(t.Context(), operatorSecret)
	if err != nil || p != operator || p.Actor() != "operator" {
		t.Errorf("authenticate: %+v, %v", p, err)
	}
}

func TestWithoutAnOperatorsTokenNobodyIsOperator(t *testing.T) {
	for _, token := range []string{"", strings.Repeat("x", 513)} {
		s := access.New(newMemory(), token, access.Options{})
		for _, secret := range []string{token, "operator", strings.Repeat("x", 512)} {
			if _, err := s.Authenticate(t.Context(), secret); !errors.Is(err, access.ErrUnauthenticated) {
				t.Errorf("%.20q of %.20q: %v", secret, token, err)
			}
		}
	}
}

func TestCreateNamesEachBadField(t *testing.T) {
	s := start(t, newMemory())
	for name, c := range map[string]struct {
		name, role, app string
		fields          string // and their codes
	}{
		"no name":                         {"", "viewer", "mine", "name required"},
		"a name of 65 characters":         {strings.Repeat("é", 65), "viewer", "mine", "name too_long"},
		"a name that is not UTF-8":        {"a\xff", "viewer", "mine", "name invalid_value"},
		"a name with a line break":        {"a\nb", "viewer", "mine", "name invalid_value"},
		"no role":                         {"n", "", "mine", "role required"},
		"an unknown role":                 {"n", "root", "mine", "role invalid_value"},
		"no application":                  {"n", "viewer", "", "app required"},
		"a malformed application":         {"n", "viewer", "My App", "app invalid_value"},
		"the operator's own name":         {"operator", "viewer", "mine", "name invalid_value"},
		"an operator in an application":   {"n", "operator", "mine", "app invalid_value"},
		"nothing at all":                  {"", "", "", "name required,role required"},
		"an application that is too long": {"n", "viewer", strings.Repeat("a", 33), "app too_long"},
	} {
		t.Run(name, func(t *testing.T) {
			secret, tok, err := s.Create(t.Context(), operator, c.name, access.Role(c.role), c.app)
			var r *domain.Rejection
			if !errors.As(err, &r) || r.Code != domain.CodeInvalid || secret != "" || tok != (access.Token{}) {
				t.Fatalf("got %q, %+v, %v", secret, tok, err)
			}
			var got []string
			for _, f := range r.Fields {
				got = append(got, f.Field+" "+string(f.Code))
				if f.Detail == "" {
					t.Errorf("%s has no detail", f.Field)
				}
			}
			if strings.Join(got, ",") != c.fields {
				t.Errorf("fields %q, want %q", strings.Join(got, ","), c.fields)
			}
		})
	}
	if _, _, err := s.Create(t.Context(), operator, strings.Repeat("語", access.MaxNameLength), access.Viewer, "mine"); err != nil {
		t.Errorf("a name of 64 characters: %v", err)
	}
}

func TestAnAdminManagesTheTokensOfTheOwnApplicationOnly(t *testing.T) {
	s := start(t, newMemory())
	_, mine := mustCreate(t, s, "mine", access.Viewer, "mine")
	_, others := mustCreate(t, s, "other's", access.Viewer, "other")
	_, operators := mustCreate(t, s, "second operator", access.Operator, "")

	if _, tok, err := s.Create(t.Context(), admin, "new", access.Admin, "mine"); err != nil || tok.CreatedBy != admin.Actor() {
		t.Errorf("create in the own application: %+v, %v", tok, err)
	}
	if _, _, err := s.Create(t.Context(), admin, "new", access.Viewer, "other"); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("create in another application: %v", err)
	}
	if _, _, err := s.Create(t.Context(), admin, "new", access.Operator, ""); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("create an operator's: %v", err)
	}
	for _, app := range []string{"", "mine"} {
		tokens, err := s.List(t.Context(), admin, app)
		if err != nil || len(tokens) != 2 || tokens[0] != mine || tokens[1].Name != "new" {
			t.Errorf("list %q: %+v, %v", app, tokens, err)
		}
	}
	if _, err := s.List(t.Context(), admin, "other"); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("list another application's: %v", err)
	}
	for _, tok := range []access.Token{others, operators} {
		if _, err := s.Revoke(t.Context(), admin, tok.ID); !errors.Is(err, access.CodeTokenNotFound) {
			t.Errorf("revoke %s: %v", tok.Name, err)
		}
	}
	if _, err := s.Revoke(t.Context(), admin, mine.ID); err != nil {
		t.Errorf("revoke the own: %v", err)
	}
	all, err := s.List(t.Context(), operator, "")
	if err != nil || len(all) != 4 || !all[0].Revoked() || !slices.Contains(all, operators) {
		t.Errorf("an operator sees %+v, %v", all, err)
	}
}

func TestRolesThatManageNoTokensAreForbiddenTo(t *testing.T) {
	s := start(t, newMemory())
	_, tok := mustCreate(t, s, "t", access.Viewer, "mine")
	for _, p := range []access.Principal{
		{},
		{Role: access.Producer, App: "mine"}, {Role: access.Viewer, App: "mine"},
		{Role: access.Exporter, App: "mine"}, {Role: access.Auditor, App: "mine"},
	} {
		_, _, cerr := s.Create(t.Context(), p, "n", access.Viewer, "mine")
		_, lerr := s.List(t.Context(), p, "")
		_, rerr := s.Revoke(t.Context(), p, tok.ID)
		for _, err := range []error{cerr, lerr, rerr} {
			if !errors.Is(err, access.ErrForbidden) {
				t.Errorf("%q: %v", p.Role, err)
			}
		}
	}
}

func TestIdsOfNoTokenAreNotFound(t *testing.T) {
	s := start(t, newMemory())
	for _, id := range []string{"", "operator", "a.b", ">", "../x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", strings.Repeat("A", 1<<16)} {
		var r *domain.Rejection
		if _, err := s.Revoke(t.Context(), operator, id); !errors.As(err, &r) || r.Code != access.CodeTokenNotFound {
			t.Errorf("%.30q: %v", id, err)
		}
	}
}

func TestWhatTheStoreRefusesLeavesNothingBehind(t *testing.T) {
	store := newMemory()
	s := start(t, store)
	secret, tok := mustCreate(t, s, "t", access.Viewer, "mine")
	store.fault(errors.New("no disk"))

	if secret, _, err := s.Create(t.Context(), operator, "n", access.Viewer, "mine"); !errors.Is(err, access.ErrUnavailable) || secret != "" {
		t.Errorf("create: %q, %v", secret, err)
	}
	if _, err := s.Revoke(t.Context(), operator, tok.ID); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("revoke: %v", err)
	}
	if _, err := s.Revoke(t.Context(), operator, "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("revoke a token that is not known here: %v", err)
	}
	if _, err := s.Authenticate(t.Context(), secret); err != nil {
		t.Errorf("the token that was not revoked: %v", err)
	}
	if tokens, err := s.List(t.Context(), operator, ""); err != nil || len(tokens) != 1 || tokens[0].Revoked() {
		t.Errorf("list: %+v, %v", tokens, err)
	}
}

func TestBeforeTheStoredTokensAreReadNobodyIsTurnedAway(t *testing.T) {
	filled := newMemory()
	secret, tok := mustCreate(t, start(t, filled), "t", access.Viewer, "mine")
	synctest.Test(t, func(t *testing.T) {
		store := scripted{memory: filled, steps: make(chan step)}
		s := access.New(store, operatorSecret, access.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()

		if _, err := s.Authenticate(ctx, secret); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("a token that may be good: %v", err)
		}
		if _, err := s.List(ctx, operator, ""); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("list: %v", err)
		}
		if err := s.Ready(); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("ready: %v", err)
		}
		cause := errors.New("cut off")
		store.steps <- step{err: cause}
		synctest.Wait()
		if err := s.Ready(); !errors.Is(err, cause) {
			t.Errorf("ready while cut off: %v", err)
		}
		gone, stop := context.WithCancel(ctx)
		stop()
		if err := s.Wait(gone); !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v", err)
		}

		r, err := filled.Get(ctx, tok.ID)
		if err != nil {
			t.Fatal(err)
		}
		store.steps <- step{records: []access.Record{r}}
		synctest.Wait()
		if err := errors.Join(s.Ready(), s.Wait(ctx)); err != nil {
			t.Errorf("not ready after all tokens were read: %v", err)
		}
		if p, err := s.Authenticate(ctx, secret); err != nil || p.TokenID != tok.ID {
			t.Errorf("authenticate: %+v, %v", p, err)
		}

		store.steps <- step{err: cause}
		synctest.Wait()
		if err := s.Ready(); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("ready while cut off again: %v", err)
		}
		if _, err := s.Authenticate(ctx, secret); err != nil {
			t.Errorf("a token that is known, while cut off: %v", err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
}

func TestAnOldRecordThatArrivesLateRevivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := scripted{memory: newMemory(), steps: make(chan step)}
		s := access.New(store, operatorSecret, access.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		store.steps <- step{records: []access.Record{}}

		secret, tok := mustCreate(t, s, "t", access.Viewer, "mine")
		old, err := store.Get(ctx, tok.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Revoke(ctx, operator, tok.ID); err != nil {
			t.Fatal(err)
		}
		store.steps <- step{records: []access.Record{old, old}}
		synctest.Wait()
		if _, err := s.Authenticate(ctx, secret); !errors.Is(err, access.ErrUnauthenticated) {
			t.Errorf("authenticate: %v", err)
		}
		if tokens, err := s.List(ctx, operator, "mine"); err != nil || len(tokens) != 1 || tokens[0].RevokedBy != "operator" || tokens[0].Name != "t" {
			t.Errorf("list: %+v, %v", tokens, err)
		}
		cancel()
		<-done
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	s := start(b, newMemory())
	secret, _ := mustCreate(b, s, "t", access.Viewer, "mine")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Authenticate(b.Context(), secret); err != nil {
				b.Error(err)
			}
		}
	})
}
