package messaging

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// mustWait tells, by the words of Precedence alone, whether later waits for earlier.
func mustWait(later, earlier Precedence) bool {
	return slices.ContainsFunc(later.Keys, func(k string) bool { return slices.Contains(earlier.Keys, k) }) ||
		later.Behind && later.Group == earlier.Group && later.Group != ""
}

func TestEverybodyInLineStartsAsSoonAsNobodyIsAheadAndNotBefore(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	precedence := rapid.Custom(func(t *rapid.T) Precedence {
		return Precedence{
			Keys:  rapid.SliceOfN(name, 0, 3).Draw(t, "keys"),
			Group: rapid.SampledFrom([]string{"", "g", "h"}).Draw(t, "group"), Behind: rapid.Bool().Draw(t, "behind"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var line lineup
		var entered []Precedence
		running := make(map[int]*place)
		over := make(map[int]bool)
		check := func() {
			for i, p := range entered {
				ahead := false
				for j := range i {
					ahead = ahead || !over[j] && mustWait(p, entered[j])
				}
				if started := running[i] != nil || over[i]; started == ahead {
					t.Fatalf("%d of %+v: started is %t, somebody ahead is %t", i, entered, started, ahead)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(running) > 0 && rapid.Bool().Draw(t, "leave") {
				i := rapid.SampledFrom(slices.Sorted(maps.Keys(running))).Draw(t, "who")
				p := running[i]
				delete(running, i)
				over[i] = true
				line.leave(p)
			} else {
				i, p := len(entered), precedence.Draw(t, "precedence")
				entered = append(entered, p)
				line.enter(p, func(p *place) { running[i] = p })
			}
			check()
		}
		for len(running) > 0 {
			for i, p := range running {
				delete(running, i)
				over[i] = true
				line.leave(p)
				break
			}
			check()
		}
		if len(over) != len(entered) || len(line.latest) != 0 || len(line.groups) != 0 {
			t.Fatalf("%d of %d have left; %d keys and %d groups are remembered", len(over), len(entered), len(line.latest), len(line.groups))
		}
	})
}
