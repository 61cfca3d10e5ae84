package accountlist

import "rollcall/domain"

// Request is a page that is asked for. What an adapter reads the page with embeds it. Create one with Ask.
type Request struct {
	Listing domain.Listing
	After   Key  // the place that the page comes after
	Resumed bool // there is one
}

// Ask checks a listing and returns the request for its page.
//
// Errors: *domain.Rejection as of Listing.Normalize and After.
func Ask(l domain.Listing) (Request, error) {
	l, err := l.Normalize()
	if err != nil {
		return Request{}, err
	}
	r := Request{Listing: l}
	r.After, r.Resumed, err = After(l)
	return r, err
}

// Wanted is how many accounts are looked for: one more than the page holds tells whether
// another page follows.
func (r *Request) Wanted() int { return r.Listing.Limit + 1 }

// Compare compares places in the order of the list.
func (r *Request) Compare(a, b Key) int {
	c := Compare(r.Listing.Sort, a, b)
	if r.Listing.Order == domain.Descending {
		return -c
	}
	return c
}

// Follows tells whether a place belongs to the page or a later one.
func (r *Request) Follows(k Key) bool { return !r.Resumed || r.Compare(k, r.After) > 0 }

// Page returns the page of the accounts that were found, up to Wanted, in their order. Its position is unset.
func (r *Request) Page(accounts []domain.Account, total int, estimate bool) domain.Page {
	page := domain.Page{Accounts: accounts, Total: total, TotalIsEstimate: estimate}
	if n := r.Listing.Limit; len(accounts) > n {
		page.Accounts = accounts[:n]
		page.Next = KeyOf(accounts[n-1]).Cursor(r.Listing)
	}
	return page
}

// Counts are how many accounts of each type an application has.
type Counts struct{ Normals, Admins int64 }

// Total returns how many accounts of a type there are, of both for none.
func (c Counts) Total(t domain.AccountType) int {
	switch t {
	case domain.TypeNormal:
		return int(c.Normals)
	case domain.TypeAdmin:
		return int(c.Admins)
	}
	return int(c.Normals + c.Admins)
}

// Change takes an account out as it was and in as it is, each if it exists.
func (c *Counts) Change(was, is domain.Account) {
	c.add(was, -1)
	c.add(is, +1)
}

func (c *Counts) add(a domain.Account, n int64) {
	switch {
	case !a.Exists():
	case a.Type == domain.TypeAdmin:
		c.Admins += n
	default:
		c.Normals += n
	}
}
