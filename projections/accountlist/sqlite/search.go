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
)

// candidates are the rows that may match a search text.
type candidates struct {
	chunks []candidateChunk // by number, none empty
	size   int
	exact  bool // each of them matches the text
}

type candidateChunk struct {
	number int64
	ids    chunkSet
}

// has tells whether a row is a candidate.
func (c *candidates) has(id int64) bool {
	i, ok := slices.BinarySearchFunc(c.chunks, id/chunkIDs, func(e candidateChunk, number int64) int {
		return int(e.number - number)
	})
	return ok && c.chunks[i].ids.has(uint16(id%chunkIDs))
}

// each calls f with each candidate, until it returns an error.
func (c *candidates) each(f func(id int64) error) error {
	for i := range c.chunks {
		chunk := &c.chunks[i]
		for low := range uint16(chunkIDs) {
			if !chunk.ids.has(low) {
				continue
			}
			if err := f(chunk.number*chunkIDs + int64(low)); err != nil {
				return err
			}
		}
	}
	return nil
}

// findCandidates reads the postings of the grams of a text.
func findCandidates(conn *sqlite.Conn, app int64, text string) (*candidates, error) {
	grams, exact := queryGrams(domain.FoldText(text))
	c := &candidates{exact: exact}
	for i, g := range grams {
		chunks, err := readChunks(conn, app, g)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			c.chunks = chunks
		} else {
			c.chunks = intersect(c.chunks, chunks)
		}
		if len(c.chunks) == 0 {
			break
		}
	}
	for i := range c.chunks {
		c.size += c.chunks[i].ids.size()
	}
	return c, nil
}

func readChunks(conn *sqlite.Conn, app int64, g gram) (chunks []candidateChunk, err error) {
	var buf []byte
	err = query(conn, "SELECT chunk, ids FROM postings WHERE app = ?1 AND gram = ?2 ORDER BY chunk", func(row *sqlite.Stmt) error {
		buf = slices.Grow(buf[:0], row.ColumnLen(1))[:row.ColumnLen(1)]
		row.ColumnBytes(1, buf)
		chunks = append(chunks, candidateChunk{number: row.ColumnInt64(0)})
		return chunks[len(chunks)-1].ids.decode(buf)
	}, app, int64(g))
	return chunks, err
}

// intersect returns the ids that are in both, in the memory of a.
func intersect(a, b []candidateChunk) []candidateChunk {
	kept := a[:0]
	for i := range a {
		for len(b) > 0 && b[0].number < a[i].number {
			b = b[1:]
		}
		if len(b) == 0 {
			break
		}
		if b[0].number != a[i].number {
			continue
		}
		for w := range a[i].ids {
			a[i].ids[w] &= b[0].ids[w]
		}
		if a[i].ids != (chunkSet{}) {
			kept = append(kept, a[i])
		}
	}
	return kept
}

// searchAdmins looks at every administrator: there are few.
func (p *pager) searchAdmins() (accounts []domain.Account, total int, err error) {
	err = query(p.conn, walkSQL(accountColumns, p.listing, false), func(row *sqlite.Stmt) error {
		a := readAccount(row, p.app.app.ID).account
		if !p.listing.Filter.Matches(a) {
			return nil
		}
		total++
		if len(accounts) < p.wanted() && p.follows(accountlist.KeyOf(a)) {
			accounts = append(accounts, a)
		}
		return nil
	}, p.app.id)
	return accounts, total, err
}

// compare compares places in the order of the list.
func (p *pager) compare(a, b accountlist.Key) int {
	c := accountlist.Compare(p.listing.Sort, a, b)
	if p.listing.Order == domain.Descending {
		return -c
	}
	return c
}

// follows tells whether a place belongs to this page or a later one.
func (p *pager) follows(k accountlist.Key) bool {
	return !p.resumed || p.compare(k, p.after) > 0
}

// search finds the accounts of a page with the search index. Matches that are
// spread over the list are met soon when walking it; when they are few, or far off, all of
// them are read and sorted, which is bounded by their number.
func (p *pager) search() (accounts []domain.Account, total int, estimate bool, err error) {
	c, err := findCandidates(p.conn, p.app.id, p.listing.Filter.Text)
	if err != nil {
		return nil, 0, false, err
	}
	if c.size > fetchDirectly {
		w, err := p.searchWalk(c)
		if err != nil {
			return nil, 0, false, err
		}
		if w.complete {
			total, estimate := w.total(c, p.listing.Filter)
			return w.accounts, total, estimate, nil
		}
	}
	accounts, total, err = p.searchAll(c)
	return accounts, total, false, err
}

// searchWalk is a walk along the order of the list that stops at candidates.
type searchWalk struct {
	accounts []domain.Account
	tested   int  // candidates met, of which accounts matched
	complete bool // the page is full, or the list ended
}

func (p *pager) searchWalk(c *candidates) (w searchWalk, err error) {
	l := p.listing
	l.Filter.Type = "" // is not in the index; the few administrators are passed over
	steps := c.size * stepsPerFetch
	w.complete = true
	err = query(p.conn, walkSQL("id", l, p.resumed), func(row *sqlite.Stmt) error {
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
		w.tested++
		if !p.listing.Filter.Matches(r.account) {
			return nil
		}
		w.accounts = append(w.accounts, r.account)
		return p.enough(w.accounts)
	}, p.args()...)
	return w, err
}

// total tells how many accounts match as far as the walk can know.
func (w searchWalk) total(c *candidates, f domain.Filter) (total int, estimate bool) {
	if c.exact && f.Type == "" {
		return c.size, false
	}
	if w.tested == 0 {
		return c.size, true
	}
	return int(int64(c.size) * int64(len(w.accounts)) / int64(w.tested)), true
}

// searchAll reads every candidate and keeps the first of those that match.
func (p *pager) searchAll(c *candidates) (accounts []domain.Account, total int, err error) {
	type match struct {
		id  int64
		key accountlist.Key
	}
	var matches []match
	first := func() {
		slices.SortFunc(matches, func(a, b match) int { return p.compare(a.key, b.key) })
		matches = matches[:min(len(matches), p.wanted())]
	}
	err = c.each(func(id int64) error {
		a, err := searchedByID(p.conn, id)
		if err != nil || !p.listing.Filter.Matches(a) {
			return err
		}
		total++
		if key := accountlist.KeyOf(a); p.follows(key) {
			matches = append(matches, match{id: id, key: key})
		}
		if len(matches) >= 4*p.wanted() {
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
