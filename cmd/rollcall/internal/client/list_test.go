package client_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
)

func TestAListIsReadPageByPageAsOftenAsItIsAskedFor(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		q := r.URL.Query()
		switch {
		case q.Get("order") != "desc" || q.Get("limit") == "":
			http.Error(w, "another list is asked for", http.StatusBadRequest)
		case q.Get("cursor") == "":
			fmt.Fprint(w, `{"events":[{"position":9},{"position":7}],"next_cursor":"7"}`)
		default:
			fmt.Fprint(w, `{"events":[{"position":4}]}`)
		}
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	history := c.History(t.Context(), "demo", "kim", true)
	for range 2 {
		var got []uint64
		for e, err := range history {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Position)
		}
		if fmt.Sprint(got) != "[9 7 4]" {
			t.Errorf("the positions are %v", got)
		}
	}
}
