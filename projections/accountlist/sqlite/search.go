package sqlite

import (
	"slices"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

const (
	// fetchDirectly is how many candidates are read one by one without trying to
	// walk the list first.
	fetchDirectly = 1000
	// stepsPerFetch is how many steps along an index cost as much as reading a row by
	// its id.
	stepsPerFetch = 4
	// sampled is how many of more candidates are read to estimate how many match.
	sampled = 256
	// worthWalking is how many pages of matches make it worth to walk the list, where
	// those of a few pages may be anywhere. An estimate is never told below that.
	worthWalking = 4
)

// searchAdmins looks at every administrator: there are few.
func (p *pager) searchAdmins() (accounts []domain.Account, total int, err error) {
	err = query(p.conn, walkSQL(accountColumns, p.Listing, false), func(row *sqlite.Stmt) error {
		a := readAccount(row, p.app.app.ID).account
		if !p.Listing.Filter.Matches(a) {
			return nil
		}
		total++
		if len(accounts) < p.Wanted() && p.Follows(accountlist.KeyOf(a)) {
			accounts = append(accounts, a)
		}
		return nil
	}, p.app.id)
	return accounts, total, err
}

// search finds the accounts of a page with the search index. Matches that are
// spread over the list are met soon when walking it; when they are few, or far off, all of
// them are read and sorted, which is bounded by the number of candidates.
func (p *pager) search() (accounts []domain.Account, total int, estimate bool, err error) {
	c, err := findCandidates(p.conn, p.app.id, p.Listing.Filter.Text)
	if err != nil {
		return nil, 0, false, err
	}
	if c.size > fetchDirectly {
		if total, estimate, err = p.total(c); err != nil {
			return nil, 0, false, err
		}
		if total >= worthWalking*p.Wanted() {
			w, err := p.searchWalk(c)
			if err != nil || w.complete {
				return w.accounts, total, estimate, err
			}
		}
	}
	accounts, total, err = p.searchAll(c)
	return accounts, total, false, err
}

// total tells how many of many candidates match. It does not depend on the page, so that
// an estimate is the same on each.
func (p *pager) total(c *candidates) (total int, estimate bool, err error) {
	if !c.exact {
		total, err = p.sample(c)
		return total, true, err
	}
	if p.Listing.Filter.Type == "" {
		return c.size, false, nil
	}
	admins, err := p.matchingAdmins()
	return c.size - admins, false, err
}

// sample estimates how many candidates match.
func (p *pager) sample(c *candidates) (total int, err error) {
	ids := c.spread(sampled)
	for _, id := range ids {
		a, err := searchedByID(p.conn, id)
		if err != nil {
			return 0, err
		}
		if p.Listing.Filter.Matches(a) {
			total++
		}
	}
	return total * c.size / len(ids), nil
}

// matchingAdmins counts the administrators that have the text.
func (p *pager) matchingAdmins() (n int, err error) {
	admins := domain.Filter{Type: domain.TypeAdmin, Text: p.Listing.Filter.Text}
	l := p.Listing
	l.Filter = admins
	err = query(p.conn, walkSQL(accountColumns, l, false), func(row *sqlite.Stmt) error {
		if admins.Matches(readAccount(row, p.app.app.ID).account) {
			n++
		}
		return nil
	}, p.app.id)
	return n, err
}

// searchWalk is a walk along the order of the list that stops at candidates.
type searchWalk struct {
	accounts []domain.Account
	complete bool // the page is full, or the list ended
}

func (p *pager) searchWalk(c *candidates) (w searchWalk, err error) {
	l := p.Listing
	l.Filter.Type = "" // is not in the index; the few administrators are passed over
	steps := c.size * stepsPerFetch
	w.complete = true
	err = query(p.conn, walkSQL("id", l, p.Resumed), func(row *sqlite.Stmt) error {
		if steps--; steps < 0 {
			w.complete = false
			return errEnough
		}
		id := row.ColumnInt64(0)
		if !c.has(id) {
			return nil
		}
		r, err := accountByID(p.conn, p.app, id)
		if err != nil {
			return err
		}
		if !p.Listing.Filter.Matches(r.account) {
			return nil
		}
		w.accounts = append(w.accounts, r.account)
		return p.enough(w.accounts)
	}, p.args()...)
	return w, err
}

// searchAll reads every candidate and keeps the first of those that match.
func (p *pager) searchAll(c *candidates) (accounts []domain.Account, total int, err error) {
	type match struct {
		id  int64
		key accountlist.Key
	}
	var matches []match
	first := func() {
		slices.SortFunc(matches, func(a, b match) int { return p.Compare(a.key, b.key) })
		matches = matches[:min(len(matches), p.Wanted())]
	}
	err = c.each(func(id int64) error {
		a, err := searchedByID(p.conn, id)
		if err != nil || !p.Listing.Filter.Matches(a) {
			return err
		}
		total++
		if key := accountlist.KeyOf(a); p.Follows(key) {
			matches = append(matches, match{id: id, key: key})
		}
		if len(matches) >= 4*p.Wanted() {
			first()
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	first()
	for _, m := range matches {
		r, err := accountByID(p.conn, p.app, m.id)
		if err != nil {
			return nil, 0, err
		}
		accounts = append(accounts, r.account)
	}
	return accounts, total, nil
}
