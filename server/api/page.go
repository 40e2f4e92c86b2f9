package api

import (
	"context"
	"iter"
	"strconv"
)

// pageSize is how much is asked for at a time: the most that the server gives.
const pageSize = 1000

// pages goes through a list: param is the parameter that takes what a page gives as next. An error is the last of it.
func pages[Page, Item any](ctx context.Context, c *Client, r request, param string, take func(*Page) (items []Item, next string)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		r := r.with("limit", strconv.Itoa(pageSize))
		for {
			var page Page
			if err := c.call(ctx, r, &page); err != nil {
				var none Item
				yield(none, err)
				return
			}
			items, next := take(&page)
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			r = r.with(param, next)
		}
	}
}

// number is a next that is a number.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
