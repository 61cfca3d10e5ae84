package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rollcall/handlers/access"
)

// table is what the roles may do, written down a second time, so that a slip in
// one of the two is seen.
const table = `
                operator  admin  producer  viewer  exporter  auditor
manage_apps        x        x       -        -        -         -
read_apps          x        x       x        x        x         x
write_accounts     x        x       x        -        -         -
read_accounts      x        x       -        x        -         -
export             x        x       -        -        x         -
read_outcomes      x        x       x        -        x         -
audit              x        x       -        -        -         x
manage_tokens      x        x       -        -        -         -
manage_dead        x        x       -        -        -         -
operate            x        -       -        -        -         -
`

func TestEachRoleMayDoWhatTheTableSays(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	roles := strings.Fields(lines[0])
	if len(roles) != len(access.Roles()) || len(lines)-1 != len(access.Actions()) {
		t.Fatalf("the table has %d roles and %d actions, want %d and %d", len(roles), len(lines)-1, len(access.Roles()), len(access.Actions()))
	}
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		action := access.Action(cells[0])
		if !slices.Contains(access.Actions(), action) {
			t.Errorf("there is no action %s", action)
		}
		for i, role := range roles {
			want := cells[1+i] == "x"
			checkRole(t, access.Role(role), action, want)
		}
	}
}

// checkRole checks a role in its own application, in another one, and outside of any.
func checkRole(t *testing.T, role access.Role, action access.Action, want bool) {
	t.Helper()
	everywhere := role == access.Operator
	p := access.Principal{TokenID: "x", Role: role, App: "mine"}
	if everywhere {
		p.App = ""
	}
	for app, want := range map[string]bool{"mine": want, "other": want && everywhere, "": want && everywhere} {
		if got := p.May(action, app); got != want {
			t.Errorf("%s may %s in %q: %v, want %v", role, action, app, got, want)
		}
		if err := p.Authorize(action, app); (err == nil) != want || (err != nil && !errors.Is(err, access.ErrForbidden)) {
			t.Errorf("%s is authorized to %s in %q: %v, want %v", role, action, app, err, want)
		}
	}
}

func TestPrincipalsThatAreNotWellFormedMayDoNothing(t *testing.T) {
	for name, p := range map[string]access.Principal{
		"the zero value":                       {},
		"an operator bound to an application":  {Role: access.Operator, App: "mine"},
		"an admin bound to no application":     {Role: access.Admin},
		"a role that does not exist":           {Role: "root", App: "mine"},
		"no role":                              {App: "mine"},
		"a role written with a capital letter": {Role: "Operator"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, action := range append(access.Actions(), "", "fly") {
				for _, app := range []string{"", "mine", "other"} {
					if p.May(action, app) {
						t.Errorf("may %q in %q", action, app)
					}
					if err := p.Authorize(action, app); !errors.Is(err, access.ErrForbidden) {
						t.Errorf("is authorized to %q in %q: %v", action, app, err)
					}
				}
			}
		})
	}
}

func TestAnActionThatDoesNotExistIsPermittedToNobody(t *testing.T) {
	for _, role := range access.Roles() {
		checkRole(t, role, "fly", false)
		checkRole(t, role, "", false)
	}
}
