package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
)

func TestEveryPageComesFromAnIndexWithoutSorting(t *testing.T) {
	conn, err := openWriter(t.Context(), filepath.Join(t.TempDir(), "list.db"), lasting)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		for _, order := range []domain.Order{domain.Ascending, domain.Descending} {
			for _, typ := range []domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin} {
				for _, resumed := range []bool{false, true} {
					l := domain.Listing{Sort: sort, Order: order, Filter: domain.Filter{Type: typ}}
					checkPlan(t, conn, walkSQL(accountColumns, l, resumed), resumed, sort)
				}
			}
		}
	}
}

// checkPlan checks that a statement is one search of an index which begins at the
// application and, on a later page, at the place of the cursor.
func checkPlan(t *testing.T, conn *sqlite.Conn, sql string, resumed bool, sort domain.Sort) {
	t.Helper()
	var plan []string
	if err := query(conn, "EXPLAIN QUERY PLAN "+sql, func(row *sqlite.Stmt) error {
		plan = append(plan, row.ColumnText(3))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	bound := "(app=?)"
	if resumed {
		bound = "user_id)" // the end of "(app=? AND (nickname,user_id)>(?,?))", which SQLite shows in part
		if sort == domain.SortUserID {
			bound = "user_id"
		}
	}
	text := fmt.Sprint(plan)
	if len(plan) != 1 || !strings.HasPrefix(plan[0], "SEARCH accounts USING INDEX") || !strings.Contains(text, bound) {
		t.Errorf("%s\nis done by %s", sql, text)
	}
}

func TestGramsOfAQueryAreGramsOfEveryTextThatHasIt(t *testing.T) {
	for _, text := range []string{"김민준", "user_001", "aé中b", "😀x😀", "İi", "สมชาย", "a"} {
		folded := domain.FoldText(text)
		all := accountGrams(nil, "id", "before "+text+" behind")
		runes := []rune(folded)
		for from := range runes {
			for to := from + 1; to <= len(runes); to++ {
				grams, _ := queryGrams(string(runes[from:to]))
				if missing, _ := gramChange(grams, all); len(grams) == 0 || len(missing) > 0 {
					t.Errorf("%q: grams %v of %q are missing", text, missing, string(runes[from:to]))
				}
			}
		}
	}
}

func TestAChunkIsReadAsItWasWritten(t *testing.T) {
	for _, n := range []int{0, 1, maxListed, maxListed + 1, chunkIDs} {
		var set, again chunkSet
		for i := range n {
			set.add(uint16(i * 7919 % chunkIDs))
		}
		b := set.encode(nil)
		if err := again.decode(b); err != nil || again != set || set.size() != n || len(b) > bitmapBytes {
			t.Errorf("%d ids: %d bytes, %v", n, len(b), err)
		}
	}
	var set chunkSet
	for _, b := range [][]byte{{1}, make([]byte, bitmapBytes+2)} {
		if err := set.decode(b); err == nil {
			t.Errorf("a posting of %d bytes is read", len(b))
		}
	}
}
