package postgres

import (
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

const (
	// gatherAlways is how many matches are always gathered, whatever a walk would cost.
	gatherAlways = 1000
	// sampled is how many matches of a sample tell the number of all well enough: to about
	// an eighth.
	sampled = 64
	// fewMore is by how many a sample with very few matches may understate them.
	fewMore = 5
)

// matches is the condition that an account has a text in its user id or nickname. It is
// what domain.Filter means: user ids are ASCII, for which the server folds as we do.
func (p *pager) matches(s *statement) string {
	text := s.arg(domain.FoldText(p.Listing.Filter.Text))
	return " AND (strpos(coalesce(a.folded, a.nickname), " + text + ") > 0 OR strpos(lower(a.user_id), " + text + ") > 0)"
}

// candidates is the condition by which the index of grams finds the accounts that match.
// The application is written so that no other index fits.
func (p *pager) candidates(s *statement, more ...int32) string {
	grams := append(queryGrams(p.app.id, domain.FoldText(p.Listing.Filter.Text)), more...)
	where := "a.grams @> " + s.arg(grams) + " AND a.app + 0 = " + s.arg(p.app.id)
	if t := p.Listing.Filter.Type; t != "" {
		where += " AND a.type = " + s.arg(string(t))
	}
	return where + p.matches(s)
}

// searchAdmins looks at every administrator: there are few.
func (p *pager) searchAdmins() (page []domain.Account, total int, err error) {
	all, err := p.accounts(p.adminMatches())
	for _, a := range all {
		if len(page) < p.Wanted() && p.Follows(accountlist.KeyOf(a)) {
			page = append(page, a)
		}
	}
	return page, len(all), err
}

// adminMatches selects the administrators that match.
func (p *pager) adminMatches() (s statement) {
	s.sql = "SELECT " + accountColumns + " FROM list.accounts a WHERE " + p.scope(&s) + p.matches(&s) + " ORDER BY " + p.order()
	return s
}

// search finds the accounts of a page with the index of grams. Matches that are spread over
// the list are met soon when walking it; when they are few, or far off, all of them are
// gathered and sorted, which is bounded by their number.
func (p *pager) search() (accounts []domain.Account, total int, estimate bool, err error) {
	likely, err := p.estimate()
	if err != nil {
		return nil, 0, false, err
	}
	if likely > p.gatherMost() {
		accounts, complete, err := p.searchWalk(p.walkSteps(likely))
		if err != nil || complete {
			return accounts, likely, true, err
		}
	}
	accounts, total, err = p.gather()
	return accounts, total, false, err
}

// gatherMost is how many matches are gathered rather than met on a walk: as many as the
// steps that the walk then takes to fill a page.
func (p *pager) gatherMost() int {
	steps := math.Sqrt(float64(p.Wanted()) * float64(p.app.Total("")))
	return max(gatherAlways, int(steps))
}

// walkSteps is how many steps along the list are worth a try: a few times as many as fill a
// page when the matches are spread evenly, or what is little beside gathering all of them.
func (p *pager) walkSteps(likely int) int {
	even := p.Wanted() * p.app.Total("") / likely
	return max(4*even, likely/4)
}

// estimate estimates how many accounts match, from the smallest sample that tells enough. It
// does not depend on the page, so that it is the same on each. So few matches that they are
// gathered are estimated as none.
func (p *pager) estimate() (int, error) {
	for i := len(sampleBits) - 1; i >= 0; i-- {
		bits := sampleBits[i]
		if p.app.Total("")>>bits < sampled {
			continue
		}
		n, err := p.count(p.countMatches(sample(p.app.id, bits)))
		if err != nil {
			return 0, err
		}
		if n >= sampled {
			return n << bits, nil
		}
		if (n+fewMore)<<bits <= p.gatherMost() {
			break
		}
	}
	return 0, nil
}

// countMatches counts the matches that have more grams as well.
func (p *pager) countMatches(more ...int32) (s statement) {
	s.sql = "SELECT count(*) FROM list.accounts a WHERE " + p.candidates(&s, more...)
	return s
}

func (p *pager) count(s statement) (n int, err error) {
	err = p.view.query(p.ctx, s.sql, func(rows pgx.Rows) error { return rows.Scan(&n) }, s.args...)
	return n, err
}

// searchWalk walks so many steps along the order of the list and keeps what matches. It is
// complete when the page is full or the list has ended.
func (p *pager) searchWalk(steps int) (accounts []domain.Account, complete bool, err error) {
	accounts, err = p.accounts(p.matchesAlong(steps))
	if err != nil || len(accounts) == p.Wanted() {
		return accounts, true, err
	}
	complete = true
	rest := p.beyond(steps)
	err = p.view.query(p.ctx, rest.sql, func(pgx.Rows) error {
		complete = false
		return nil
	}, rest.args...)
	return accounts, complete, err
}

// matchesAlong selects what matches within so many steps.
func (p *pager) matchesAlong(steps int) (s statement) {
	reach := fmt.Sprintf("SELECT a.* FROM list.accounts a WHERE %s%s ORDER BY %s LIMIT %d", p.scope(&s), p.place(&s), p.order(), steps)
	s.sql = fmt.Sprintf("SELECT %s FROM (%s) a WHERE true%s LIMIT %d", accountColumns, reach, p.matches(&s), p.Wanted())
	return s
}

// beyond selects a row if there is one after so many steps.
func (p *pager) beyond(steps int) (s statement) {
	s.sql = fmt.Sprintf("SELECT a.user_id FROM list.accounts a WHERE %s%s ORDER BY %s OFFSET %d LIMIT 1", p.scope(&s), p.place(&s), p.order(), steps)
	return s
}

// gather finds every match and keeps the first of them that belong to the page.
func (p *pager) gather() (accounts []domain.Account, total int, err error) {
	s := p.gatherPage()
	err = p.view.query(p.ctx, s.sql, func(rows pgx.Rows) error {
		a, err := readAccount(rows, p.app.app.ID, &total)
		accounts = append(accounts, a)
		return err
	}, s.args...)
	if err != nil || len(accounts) > 0 {
		slices.SortFunc(accounts, func(a, b domain.Account) int { return p.Compare(accountlist.KeyOf(a), accountlist.KeyOf(b)) })
		return accounts, total, err
	}
	total, err = p.count(p.countMatches()) // nothing follows the place, which tells no total
	return nil, total, err
}

// gatherPage selects the number of all matches and the accounts of the page, in no order: to ask
// for one would tempt the planner to walk the list for it.
func (p *pager) gatherPage() (s statement) {
	found := "SELECT a.app, a.user_id, a.created_at, a.nickname FROM list.accounts a WHERE " + p.candidates(&s)
	page := "SELECT a.app, a.user_id FROM found a WHERE true" + p.place(&s) + " ORDER BY " + p.order() + fmt.Sprintf(" LIMIT %d", p.Wanted())
	s.sql = "WITH found AS MATERIALIZED (" + found + "), page AS MATERIALIZED (" + page + ") " +
		"SELECT (SELECT count(*) FROM found), " + accountColumns +
		" FROM page p JOIN list.accounts a ON a.app = p.app AND a.user_id = p.user_id"
	return s
}
