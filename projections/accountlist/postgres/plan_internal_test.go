package postgres

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"rollcall/domain"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

var update = flag.Bool("update", false, "write the plans as they are into testdata")

// planAccounts is enough for the planner to tell a scan from a step along an index.
const planAccounts = 20_000

// planned is a statement of the list whose plan is kept.
type planned struct {
	name      string
	statement statement
	// gathers tells that all matches may be sorted, for want of an index in the order.
	gathers bool
}

// plannedStatements returns the statements that reads of the list run on accounts.
func plannedStatements(app appRow) (all []planned) {
	after := accountlist.Key{CreatedAt: listtest.Epoch, Nickname: "김", UserID: "user_0050000"}
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		for _, order := range []domain.Order{domain.Ascending, domain.Descending} {
			for _, typ := range []domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin} {
				for _, resumed := range []bool{false, true} {
					listing := domain.Listing{App: listtest.LoadApp, Filter: domain.Filter{Type: typ}, Sort: sort, Order: order, Limit: 50}
					p := pager{Request: accountlist.Request{Listing: listing, After: after, Resumed: resumed}, app: app}
					name := fmt.Sprintf("%s %s type=%s resumed=%t", sort, order, typ, resumed)
					all = append(all, planned{name: "list " + name, statement: p.walk()})
					p.Listing.Filter.Text = "민준"
					if typ == domain.TypeAdmin {
						all = append(all, planned{name: "search " + name, statement: p.adminMatches()})
						continue
					}
					all = append(all,
						planned{name: "search, walk, " + name, statement: p.matchesAlong(5000)},
						planned{name: "search, rest of the walk, " + name, statement: p.beyond(5000)},
						planned{name: "search, gather, " + name, statement: p.gatherPage(), gathers: true},
						planned{name: "search, sample, " + name, statement: p.countMatches(sample(app.id, 4)), gathers: true},
					)
				}
			}
		}
	}
	for _, typ := range []domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin} {
		name := "chunk"
		if typ != "" {
			name += ", " + string(typ)
		}
		all = append(all, planned{name: name, statement: chunkPager(app, domain.Stretch{Type: typ}).stretch(domain.Stretch{Limit: domain.MaxStretch})})
		next := domain.Stretch{Type: typ, After: domain.Place{CreatedAt: time.Unix(1_700_000_000, 0), UserID: "user_0100000"}, Limit: domain.MaxStretch}
		all = append(all, planned{name: name + ", next", statement: chunkPager(app, next).stretch(next)})
	}
	named := domain.Stretch{UserIDs: []domain.UserID{"user_0000001", "user_0100000"}}
	return append(all, planned{name: "chunk of named accounts", statement: chunkPager(app, named).stretch(named)})
}

// planNode is a node of a plan in the JSON of EXPLAIN.
type planNode struct {
	Type      string     `json:"Node Type"`
	Index     string     `json:"Index Name"`
	Relation  string     `json:"Relation Name"`
	Direction string     `json:"Scan Direction"`
	Plans     []planNode `json:"Plans"`
}

// scans tells how a plan comes to its rows, in one line. What it does with them then depends
// on the version of the server.
func (n planNode) scans() string {
	var all []string
	n.each(func(n planNode) {
		of := n.Index
		if of == "" {
			of = n.Relation
		}
		if of == "" || n.Type == "Bitmap Heap Scan" {
			return // that is told by the index scan below it
		}
		direction := ""
		if n.Direction == "Backward" {
			direction = " backward"
		}
		all = append(all, n.Type+direction+" "+of)
	})
	return strings.Join(all, ", ")
}

// each calls f with every node.
func (n planNode) each(f func(planNode)) {
	f(n)
	for _, p := range n.Plans {
		p.each(f)
	}
}

func explain(t *testing.T, conn *pgxpool.Conn, generation int64, s statement) planNode {
	t.Helper()
	var text []byte
	if err := conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+in(generation, s.sql), s.args...).Scan(&text); err != nil {
		t.Fatalf("explain %s: %v", s.sql, err)
	}
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		t.Fatalf("plan %s: %v", text, err)
	}
	return plans[0].Plan
}

// loaded returns a database whose live list has the accounts of a load.
func loaded(t *testing.T, accounts int) (*DB, *List) {
	t.Helper()
	db, err := Open(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c := codec.New(&listtest.Sealer{})
	l := db.Live(c)
	listtest.Load(t, l, c, accounts)
	return db, l
}

// TestNoQueryOfAListBecomesAScan compares the plans of all queries on accounts with those in
// testdata, with statistics and without, as a list has none while it is filled. Run it with
// -update after a change that is meant.
func TestNoQueryOfAListBecomesAScan(t *testing.T) {
	db, l := loaded(t, planAccounts)
	generation := l.generation()
	fresh := plans(t, db, l)
	if _, err := db.writers.Exec(t.Context(), in(generation, "VACUUM ANALYZE list.accounts")); err != nil {
		t.Fatal(err)
	}
	analyzed := plans(t, db, l)
	golden := filepath.Join("testdata", "plans.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(analyzed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	comparePlans(t, "with statistics", string(want), analyzed)
	comparePlans(t, "without statistics", string(want), fresh)
}

func comparePlans(t *testing.T, what, want, got string) {
	t.Helper()
	wanted, gotten := strings.Split(want, "\n"), strings.Split(got, "\n")
	if len(wanted) != len(gotten) {
		t.Fatalf("%s: %d lines of plans, want %d", what, len(gotten), len(wanted))
	}
	for i := range wanted {
		if wanted[i] != gotten[i] {
			t.Errorf("%s: the plan is\n%s\nwant\n%s", what, gotten[i], wanted[i])
		}
	}
}

// plans returns the plan of every statement in a line, and checks each.
func plans(t *testing.T, db *DB, l *List) string {
	t.Helper()
	var lines strings.Builder
	err := l.readFrom(t.Context(), db.readers, l.generation(), func(v *view) error {
		app, err := v.app(t.Context(), listtest.LoadApp)
		if err != nil {
			return err
		}
		for _, p := range plannedStatements(app) {
			plan := explain(t, v.conn, v.generation, p.statement)
			checkPlan(t, p, plan)
			fmt.Fprintf(&lines, "%s: %s\n", p.name, plan.scans())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines.String()
}

// checkPlan checks what must hold whatever the version of the server: no table is read from
// end to end, and nothing is sorted but what the index of grams has found.
func checkPlan(t *testing.T, p planned, plan planNode) {
	t.Helper()
	indexes := 0
	plan.each(func(n planNode) {
		if n.Type == "Seq Scan" || !p.gathers && slices.Contains([]string{"Sort", "Incremental Sort", "Bitmap Heap Scan", "Hash"}, n.Type) {
			t.Errorf("%s: %s is in the plan", p.name, n.Type)
		}
		if p.gathers && n.Index != "" && n.Index != "accounts_grams" && n.Index != "accounts_user_id" {
			t.Errorf("%s: %s is walked for the sake of the order", p.name, n.Index)
		}
		if regexp.MustCompile("^(accounts|admins)_").MatchString(n.Index) {
			indexes++
		}
	})
	if indexes == 0 {
		t.Errorf("%s: the plan uses no index of accounts", p.name)
	}
}

// TestAPageReadsFewRowsHoweverDeepItIs counts the rows that the plan's lowest node yields.
func TestAPageReadsFewRowsHoweverDeepItIs(t *testing.T) {
	db, l := loaded(t, planAccounts)
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		listing := domain.Listing{App: listtest.LoadApp, Sort: sort, Order: domain.Ascending, Limit: 50}
		deep := listing
		deep.Cursor = listtest.DeepCursor(t, l, listing, planAccounts/50-2)
		after, resumed, err := accountlist.After(deep)
		if err != nil || !resumed {
			t.Fatalf("the cursor of a deep page: %t, %v", resumed, err)
		}
		err = l.readFrom(t.Context(), db.readers, l.generation(), func(v *view) error {
			app, err := v.app(t.Context(), listtest.LoadApp)
			p := pager{Request: accountlist.Request{Listing: listing, After: after, Resumed: resumed}, app: app}
			if read := buffers(t.Context(), v, p.walk()); read > 150 {
				t.Errorf("%s: a deep page reads %d pages of the database", sort, read)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// buffers returns how many pages of the database a statement reads.
func buffers(ctx context.Context, v *view, s statement) (n int) {
	rows, err := v.conn.Query(ctx, "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) "+in(v.generation, s.sql), s.args...)
	if err != nil {
		return -1
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return -1
	}
	for _, line := range lines {
		if _, after, ok := strings.Cut(line, "shared hit="); ok {
			_, _ = fmt.Sscanf(after, "%d", &n)
			return n
		}
	}
	return -1
}
