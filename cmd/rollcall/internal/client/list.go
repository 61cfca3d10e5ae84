package client

import (
	"context"
	"iter"
	"maps"
	"net/url"
)

// listed yields what a list holds, page by page, each of which is of type P. read returns what is on a page and the cursor of the next, which is
// empty at the end. An error ends them.
func listed[P, T any](ctx context.Context, c *Client, in call, read func(page P) (on []T, next string)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		in, query := in, url.Values{} // of this run
		maps.Copy(query, in.query)
		in.query = query
		for {
			var page P
			if _, err := c.do(ctx, in, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			on, next := read(page)
			for _, e := range on {
				if !yield(e, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			query.Set("cursor", next)
		}
	}
}
