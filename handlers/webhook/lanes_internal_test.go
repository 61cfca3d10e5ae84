package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// attempts notes when which delivery is attempted, and answers as told.
type attempts struct {
	mu     sync.Mutex
	began  time.Time
	made   []string
	answer func(k key, n int) (Delivery, error)
}

func (a *attempts) attempt(_ context.Context, k key) (Delivery, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made = append(a.made, fmt.Sprintf("%s %s", k.id, time.Since(a.began)))
	return a.answer(k, len(a.made))
}

func TestALaneAttemptsWhatIsDueFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		now := time.Now()
		a := &attempts{began: now, answer: func(k key, n int) (Delivery, error) {
			d := Delivery{Webhook: k.webhook, ID: k.id, Status: Delivered, Revision: 10}
			switch n {
			case 2:
				return Delivery{}, errors.New("the log is away")
			case 3:
				d.Status, d.NextAttempt = Pending, now.Add(time.Minute)
			}
			return d, nil
		}}
		l := newLanes(ctx, a.attempt)
		at := func(id string, seconds int, revision uint64) Delivery {
			return Delivery{Webhook: "w", ID: id, Status: Pending, NextAttempt: now.Add(time.Duration(seconds) * time.Second), Revision: revision}
		}
		l.put(at("late", 30, 3))
		l.put(at("soon", 10, 2))
		l.put(at("gone", 5, 1))
		l.put(Delivery{Webhook: "w", ID: "gone", Status: Failed, Revision: 4})
		l.put(at("late", 20, 5)) // brought forward
		l.put(at("late", 1, 4))  // older than what is known
		l.put(at("first", 0, 6))
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		a.mu.Lock()
		defer a.mu.Unlock()
		want := []string{"first 0s", "soon 10s", "soon 15s", "late 20s", "soon 1m0s"}
		if !slices.Equal(a.made, want) {
			t.Errorf("attempts are %v, want %v", a.made, want)
		}
		l.mu.Lock()
		if len(l.lanes) != 0 {
			t.Errorf("%d lanes are left when nothing is pending", len(l.lanes))
		}
		l.mu.Unlock()
		stop()
		l.wait()
	})
}

func TestTheWaitBetweenAttemptsGrowsOverADay(t *testing.T) {
	s := &Service{cfg: Config{RetryAfter: DefaultRetryAfter, MaxRetryAfter: DefaultMaxRetryAfter, GiveUpAfter: DefaultGiveUpAfter}}
	began := time.Now()
	d := Delivery{Status: Pending, Since: began}
	at := began
	for d.Status == Pending {
		d = s.concluded(d, answer{err: "no"}, at, time.Second)
		wait := d.NextAttempt.Sub(at)
		if d.Status == Pending && (wait < 3*time.Second || wait > 5*time.Hour+time.Minute) {
			t.Errorf("attempt %d is followed by a wait of %s", d.Attempts, wait)
		}
		if d.Status == Pending {
			at = d.NextAttempt
		}
	}
	if d.Attempts < 10 || d.Attempts > 20 || at.Sub(began) < 16*time.Hour || at.Sub(began) > 24*time.Hour {
		t.Errorf("it is given up after %d attempts in %s", d.Attempts, at.Sub(began))
	}
	patient := s.concluded(Delivery{Status: Pending, Since: began}, answer{err: "no", status: 429, wait: time.Hour}, began, 0)
	if wait := patient.NextAttempt.Sub(began); wait != time.Hour {
		t.Errorf("a receiver that asks for an hour is left alone for %s", wait)
	}
}
